"""Reads the report of the watchdog of a running member."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass

from cluster.process import Member

#: Seconds: half a heartbeat interval at default flags.
BUDGET = 0.05


@dataclass(frozen=True)
class Held:
    """A line of the log about work that held the loop."""

    callback: str
    at: str
    #: Seconds that passed, and seconds of the processor that the loop's thread used of them.
    took: float
    cpu: float


class LoopReport:
    """Causes that held a member's loop since this was made, or since the last report."""

    def __init__(self, member: Member, since: int | None = None) -> None:
        """`since`: bytes of the log that are not looked at; None: all that is there now."""
        self._member = member
        self._read = member.log.stat().st_size if since is None else since
        self._observed = self._delays() if since is None else 0

    def beyond_budget(self) -> list[Held]:
        """Holds that used the processor for longer than the budget: on a busy machine, time passes
        by itself.
        """
        # What was going on has ended when two more timers of the watchdog have run.
        # (An operation of less than 10 ms may fall between two of them.)
        seen = self._delays()
        assert seen >= self._observed, "the watchdog counts backwards"
        deadline = time.monotonic() + 30
        while (now := self._delays()) < seen + 2:
            assert time.monotonic() < deadline, "the watchdog observes nothing"
        self._observed = now
        with self._member.log.open("rb") as log:
            log.seek(self._read)
            written = log.read()
        complete = written[: written.rfind(b"\n") + 1]
        self._read += len(complete)
        lines = (json.loads(line) for line in complete.splitlines() if line.startswith(b"{"))
        held = [
            Held(line["callback"], line["at"], _seconds(line["took"]), _seconds(line["cpu"]))
            for line in lines
            if line["msg"] == "the event loop was held for too long"
        ]
        return [one for one in held if one.cpu > BUDGET]

    def _delays(self) -> int:
        """Timers observed so far."""
        url = f"{self._member.metrics_url}/metrics"
        with urllib.request.urlopen(url, timeout=30) as page:
            for line in page.read().decode().splitlines():
                name, _, value = line.partition(" ")
                if name == "rusd_event_loop_delay_seconds_count":
                    return int(value)
        raise AssertionError(f"no delays in {url}")


def _seconds(text: str) -> float:
    assert text.endswith("ms")
    return float(text[:-2]) / 1000
