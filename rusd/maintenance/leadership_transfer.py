"""Moves leadership away from a leader whose disk is nearly full.

A full disk ends a member in the middle of a write (`disk_space.py`). For a follower that costs
nothing; for a leader it costs an election, after a time in which its clients were refused. So a
leader short of space asks the connected voters for their free space:

    space {}      answer: free bytes, u64 big-endian

and transfers leadership to the voter with the longest log among those with at least
TRANSFEREE_FREE bytes. That is twice the reserve, so that two members whose free space changes a
little do not pass leadership back and forth. A voter of an earlier release does not know the
question; it ranks behind those that answer. If all are short, the leader stays.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Collection
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.maintenance.disk_space import RESERVE, DiskSpace
from rusd.raft.bodies import decoded_answer
from rusd.raft.errors import AnsweredWithError
from rusd.raft.interface import LeadershipTransfer, PeerCalls, Peers, Role

log = get_logger(__name__)

#: Seconds between two checks, and between two attempts.
CHECK_INTERVAL = 1.0
RETRY_INTERVAL = 10.0
#: Seconds that a voter has to answer.
TIMEOUT = 2.0
#: Free bytes of a voter that may become the leader.
TRANSFEREE_FREE = 2 * RESERVE

_FREE = struct.Struct(">Q")
_QUESTION = "space"
#: Status code (gRPC's) in which a member answers a question it does not know.
_UNIMPLEMENTED = 12


class Node(Role, Peers, PeerCalls, LeadershipTransfer, Protocol):
    """The part of the Raft node that this room uses."""


class LowDiskTransfer:
    """Answers requests for this member's free space, and checks it while this member leads."""

    def __init__(
        self,
        node: Node,
        space: DiskSpace,
        voters: Callable[[], Collection[int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._space = space
        self._voters = voters
        self._clock = clock
        self._next_try = float("-inf")
        node.serve(_QUESTION, self._answer)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            await self.check()

    async def check(self) -> None:
        """Transfer leadership if this member leads and is short of space."""
        now = self._clock()
        if not (self._node.is_leader and self._space.scarce(now)) or now < self._next_try:
            return
        self._next_try = now + RETRY_INTERVAL
        target = await self._best()
        if target is None:
            log.warning("short of disk space, and no voter has more")
            return
        fields = {"to": f"{target:x}"}
        log.warning("short of disk space: transferring leadership", extra={"fields": fields})
        try:
            await self._node.transfer_leadership(target)
        except Refusal as error:
            fields["error"] = str(error)
            log.warning("leadership was not transferred", extra={"fields": fields})

    async def _best(self) -> int | None:
        status = self._node.peer_status()
        voters = [member for member in sorted(self._voters()) if member in status]
        voters = [member for member in voters if status[member].connected]
        answers = await asyncio.gather(*map(self._has_space, voters))
        ranked = [
            (has_space, status[member].match_index, member)
            for member, has_space in zip(voters, answers, strict=True)
            if has_space is not None
        ]
        return max(ranked)[2] if ranked else None

    async def _has_space(self, member: int) -> bool | None:
        """Return True if a voter has space, False if its release does not know the request, None if
        it is short of space or does not respond.
        """
        try:
            answer = await self._node.ask(member, _QUESTION, b"", TIMEOUT)
            (free,) = decoded_answer(_FREE.unpack, answer)
        except AnsweredWithError as error:
            return False if error.code == _UNIMPLEMENTED else None
        except Refusal:
            return None
        return True if free >= TRANSFEREE_FREE else None

    async def _answer(self, member: int, body: bytes) -> bytes:
        return _FREE.pack(self._space.least())
