"""Latency of other clients: small puts at a fixed pace, each timed.

A put is timed from the moment it was due, not from when it was sent: a server that stands still is
charged for every put of that time, not only for one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rusd.proto import rpc_pb2 as rpc
from tests.bench.calls import PUT_PATH, VALUE
from tests.bench.load import LoadFailed
from tests.bench.wire import DATA, END_STREAM, RST_STREAM, Connection, Poll

#: Puts per second.
PACE = 200
#: Keys they go to, in turn.
KEYS = 100
#: Seconds after which a put has failed.
PATIENCE = 120.0


@dataclass(frozen=True)
class Waits:
    """Latencies of puts, milliseconds, sorted."""

    milliseconds: list[float]

    def quantile(self, share: float) -> float:
        """The smallest latency that `share` of the puts did not exceed."""
        return self.milliseconds[
            min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)
        ]


def paced(endpoint: str, go_on: Callable[[], bool]) -> Waits:
    """Put at PACE while `go_on()`; then wait for the answers still missing.

    Raises LoadFailed for a refused put, and for one without an answer after PATIENCE.
    """
    requests = [
        rpc.PutRequest(key=b"paced/%02d" % n, value=VALUE).SerializeToString() for n in range(KEYS)
    ]
    connection = Connection(endpoint)
    poll = Poll([connection])
    due_of: dict[int, float] = {}
    answered: set[int] = set()
    waits: list[float] = []
    due = time.monotonic()
    sent = 0
    try:
        while (going := go_on()) or due_of:
            now = time.monotonic()
            while going and due <= now:
                due_of[connection.call(PUT_PATH, requests[sent % KEYS])] = due
                sent += 1
                due += 1 / PACE
            poll.flush()
            # While nothing is due any more, look at the clock now and then all the same.
            for _, frames in poll.frames(max(0.0, due - time.monotonic()) if going else 0.1):
                now = time.monotonic()
                for kind, flags, stream, _ in frames:
                    if kind == DATA:
                        answered.add(stream)
                    if kind == RST_STREAM or flags & END_STREAM:
                        if stream not in answered:
                            raise LoadFailed("a paced put was refused")
                        answered.discard(stream)
                        waits.append((now - due_of.pop(stream)) * 1000)
            if due_of and time.monotonic() - next(iter(due_of.values())) > PATIENCE:
                raise LoadFailed(f"a paced put had no answer for {PATIENCE:g} s")
    finally:
        poll.close()
    return Waits(sorted(waits))
