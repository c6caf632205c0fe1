"""The page `samples`: what a member did in the last 15 minutes, kept by itself.

A row is made every `INTERVAL` seconds, as the JSON that a page is sent, and kept until there are
`ROWS`: a page that opens shows the past, and asks for what is new then.
"""

import json
import math
from collections import deque
from collections.abc import Sequence

from rusd.console.json_pages import number
from rusd.console.series import Series
from rusd.rpc.pages import PageRequest

#: Seconds between two rows, and rows that are kept.
INTERVAL = 2.0
ROWS = 450


class Samples:
    """The rows of one member."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._series = series
        self._names = [name for one in series for name in one.names]
        #: Unix milliseconds, and the row.
        self._rows: deque[tuple[int, bytes]] = deque(maxlen=ROWS)

    def add(self, now: int, seconds: float) -> None:
        """Add a row at `now` (Unix ms), of the last `seconds`."""
        values = [value for one in self._series for value in one.read(seconds)]
        shown = [now, *map(_short, values)]
        self._rows.append((now, json.dumps(shown, separators=(",", ":")).encode()))

    async def find(self, request: PageRequest) -> bytes:
        """See `Find`; `since` (Unix ms) leaves out what the page has."""
        since = number(request, "since") or 0
        rows = b",".join(row for time, row in self._rows if time > since)
        names = json.dumps(self._names, separators=(",", ":")).encode()
        return b'{"interval":%g,"names":%b,"rows":[%b]}' % (INTERVAL, names, rows)


def _short(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return round(value) if abs(value) >= 1000 or value == int(value) else round(value, 3)
