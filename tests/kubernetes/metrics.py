"""The API server's metrics.

For each reading it connects to every member and asks for the size of the store; so a wait reads
only every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.kubernetes_api import Api
from tests.support.waiting import wait

#: Seconds between two readings.
PAUSE = 3.0


def counter(page: str, name: str, label: str) -> float:
    """The sum of a metric's series with this label."""
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if label in line)


def wait_metrics(
    api: Api, look: Callable[[str], bool], timeout: float, failure: Callable[[], str]
) -> None:
    """Until `look` is true of the page. Raises AssertionError."""
    wait(lambda: look(api.text("/metrics")) or None, failure, timeout, PAUSE)
