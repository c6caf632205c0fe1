"""Changes of the membership, which etcd refuses while a member has been up for less than 5 s."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.client import Refused

T = TypeVar("T")

UNHEALTHY = Refused("UNAVAILABLE", "etcdserver: unhealthy cluster")


def once_allowed(call: Callable[[], T], refused: Refused, timeout: float = 30.0) -> T:
    """The call's answer as soon as it is no longer refused in this way."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return call()
        except Refused as error:
            if error != refused or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
