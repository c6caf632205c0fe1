"""A leader that is short of disk space hands leadership over.

A full disk ends a member in the middle of a write (`disk_space.py`). For a follower that costs
nothing, for a leader an election, after its clients were refused for a while. So a leader whose
disk is nearly full asks the connected voters how much room they have:

    space {}      answer: free bytes, u64 big-endian

and hands leadership to the one of them that holds most of its log. A voter counts as short below
ROOM, twice the reserve, so that two members whose room changes a little do not pass leadership back
and forth. A voter of an earlier release does not know the question: it comes after those that have
room. If all are short, the leader stays.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Collection
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.maintenance.disk_space import RESERVE, Space
from rusd.raft.errors import AnsweredWithError
from rusd.raft.interface import LeadershipTransfer, PeerCalls, Peers, Role

log = get_logger(__name__)

#: Seconds between two looks, and between two tries.
LOOK = 1.0
AGAIN = 10.0
#: Seconds that a voter has to answer.
TIMEOUT = 2.0
#: Free bytes of a voter that may be handed leadership.
ROOM = 2 * RESERVE

_FREE = struct.Struct(">Q")
_QUESTION = "space"
#: Status code (gRPC's) in which a member answers a question it does not know.
_UNIMPLEMENTED = 12


class Node(Role, Peers, PeerCalls, LeadershipTransfer, Protocol):
    """What is used of the Raft node."""


class Handover:
    """One member's side: it answers for its own disks, and looks at them while it leads."""

    def __init__(
        self,
        node: Node,
        space: Space,
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
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Hand leadership over if this member leads and is short."""
        now = self._clock()
        if not (self._node.is_leader and self._space.scarce(now)) or now < self._next_try:
            return
        self._next_try = now + AGAIN
        target = await self._best()
        if target is None:
            log.warning("short of disk space, and no voter is known to have more")
            return
        fields = {"to": f"{target:x}"}
        log.warning("short of disk space: leadership is handed over", extra={"fields": fields})
        try:
            await self._node.transfer_leadership(target)
        except Refusal as error:
            fields["error"] = str(error)
            log.warning("leadership was not handed over", extra={"fields": fields})

    async def _best(self) -> int | None:
        status = self._node.peer_status()
        voters = [member for member in sorted(self._voters()) if member in status]
        voters = [member for member in voters if status[member].connected]
        rooms = await asyncio.gather(*map(self._has_room, voters))
        ranked = [
            (room, status[member].match_index, member)
            for member, room in zip(voters, rooms, strict=True)
            if room is not None
        ]
        return max(ranked)[2] if ranked else None

    async def _has_room(self, member: int) -> bool | None:
        """True if a voter has room, False if it cannot say, None if it is short or silent."""
        try:
            answer = await self._node.ask(member, _QUESTION, b"", TIMEOUT)
            (free,) = _FREE.unpack(answer)
        except AnsweredWithError as error:
            return False if error.code == _UNIMPLEMENTED else None
        except Refusal:
            return None
        except struct.error:
            return None
        return True if free >= ROOM else None

    async def _answer(self, member: int, body: bytes) -> bytes:
        return _FREE.pack(self._space.least())
