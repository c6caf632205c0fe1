"""Measures write outages, of all clients and of one client: gaps between acknowledgements.

    puts at a steady pace, to every member ──▶ Acks ──▶ Gap around an event

Puts are sent on schedule without waiting for earlier responses. A client that waits for each
response would measure its own deadline when the put in progress is lost.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import grpc

from rusd.proto import rpc_pb2 as rpc

from .connection import Connections

#: Seconds between two puts to the same member, and deadline of a put.
PACE = 0.01
DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Ack:
    """A put that was acknowledged; times by time.monotonic."""

    member: int
    sent: float
    heard: float


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest times without an acknowledgement around an event, in seconds."""

    #: No client of a surviving member received an acknowledgement.
    cluster: float
    #: The longest such time of the clients of one surviving member.
    slowest: float


class Puts:
    """One client for each member, from construction to `close`."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._count = len(endpoints)
        self._connections = Connections(endpoints)
        self._acks: list[Ack] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._connections.close()

    def acks(self) -> list[Ack]:
        """Return the acknowledgements so far."""
        return self._acks.copy()

    def wait_acks(self, members: Collection[int], since: float, timeout: float = 60.0) -> None:
        """Wait until each of these members acknowledged a put sent after `since`."""
        deadline = time.monotonic() + timeout
        missing = set(members)
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no put succeeds at members {sorted(missing)}")
            time.sleep(PACE)
            missing -= {ack.member for ack in self.acks() if ack.sent > since}

    def _run(self) -> None:
        turns = itertools.count()
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            turn = next(turns)
            self._put(turn % self._count, turn)
            due = max(time.monotonic() - PACE, due + PACE / self._count)

    def _put(self, member: int, turn: int) -> None:
        request = rpc.PutRequest(key=f"failover/{member}".encode(), value=str(turn).encode())
        sent = time.monotonic()
        call = self._connections.begin(
            member, "/etcdserverpb.KV/Put", request, rpc.PutResponse, DEADLINE
        )
        call.add_done_callback(self._noted(member, sent))

    def _noted(self, member: int, sent: float) -> Callable[[grpc.Future], None]:
        def note(call: grpc.Future) -> None:
            heard = time.monotonic()
            if not call.cancelled() and call.exception() is None:
                self._acks.append(Ack(member, sent, heard))

        return note


def gap(acks: Collection[Ack], began: float, survivors: Collection[int]) -> Gap:
    """Return the longest gaps that ended after `began`.

    Raises ValueError unless each survivor acknowledged a put before and after `began`.
    """
    heard = {
        member: sorted(ack.heard for ack in acks if ack.member == member) for member in survivors
    }
    together = sorted(itertools.chain.from_iterable(heard.values()))
    return Gap(_longest(together, began), max(_longest(each, began) for each in heard.values()))


def _longest(times: Sequence[float], began: float) -> float:
    if not times or not times[0] < began < times[-1]:
        raise ValueError("there must be acknowledgements before and after the event")
    return max(later - earlier for earlier, later in itertools.pairwise(times) if later > began)
