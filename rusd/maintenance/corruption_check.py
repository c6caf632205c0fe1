"""Compares this member's keys with those of other members and raises the alarm CORRUPT.

    hashkv {revision} -> {hash, revision, compact_revision, current_revision}    between members

- Before serving (`--experimental-initial-corrupt-check`): a member whose keys differ from
  another's does not start.
- On the leader, every `--corrupt-check-time`: an alarm names each member whose keys differ. No
  member takes writes until an operator repairs that member and disarms the alarm.
- On the leader, after compactions (`--experimental-compact-hash-check-enabled`): the same, at a
  revision that does not move any more.

As in etcd's corruption checker, except that every hash is computed anew: etcd compares the hashes
that compactions left in memory, and none of a member that was restarted since.
`hash_comparison.py` decides.
"""

import asyncio
import struct
from collections.abc import Iterable
from typing import Any, Protocol

from rusd.base import sliced
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.maintenance import hash_comparison
from rusd.maintenance.hash_comparison import KeysHash
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.bodies import decoded_answer, decoded_question
from rusd.raft.interface import PeerCalls, Peers, Proposer, ReadIndex, Role
from rusd.state.command import Kind, encode
from rusd.state.members import Members

log = get_logger(__name__)

#: Seconds a member has to hash its keys (etcd's request timeout at default flags).
TIMEOUT = 7.0
#: Seconds between two looks whether the others are there.
POLL = 0.02

_REVISION = struct.Struct(">q")
_ANSWER = struct.Struct(">Iqqq")


class CorruptError(Exception):
    """This member's keys differ from another's."""


class Node(Role, Peers, Proposer, ReadIndex, PeerCalls, Protocol):
    """The part of the Raft node that this room uses."""


class CorruptionCheck:
    """One member's checks; it answers other members' requests from construction on."""

    def __init__(self, node: Node, store: Store, members: Members) -> None:
        self._node = node
        self._store = store
        self._members = members
        #: Compacted revision at which all members were last compared.
        self._compared = -1
        node.serve("hashkv", self._answer)

    async def check_before_serving(self, patience: float) -> None:
        """Compares with the peers that connect within `patience` seconds. Raises CorruptError."""
        own = await self._hash(0)
        await self._connected(patience)
        others = await self._ask_others(own.revision)
        differing = hash_comparison.differing(own, _answered(others))
        if differing:
            log.error("found different hash values from remote peers", extra=_fields(differing))
            raise CorruptError(f"{self._node.member_id:x} found data inconsistency with peers")
        log.info(
            "initial corruption checking passed; no corruption",
            extra={"fields": {"peers": len(_answered(others)), "revision": own.revision}},
        )

    async def check_every(self, interval: float) -> None:
        """Compare periodically while this member leads, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            if self._node.is_leader:
                try:
                    await self._check()
                except Refusal as error:
                    log.warning("corruption check failed", extra={"fields": {"error": str(error)}})

    async def check_compactions_every(self, interval: float) -> None:
        """Compare the hashes of each new compaction once, as `check_every`."""
        while True:
            await asyncio.sleep(interval)
            revision = self._store.compact_revision
            if self._node.is_leader and revision > self._compared:
                try:
                    await self._check_compacted(revision)
                except Refusal as error:
                    log.warning(
                        "compact hash check failed", extra={"fields": {"error": str(error)}}
                    )

    async def _check(self) -> None:
        before = await self._hash(0)
        others = await self._ask_others(before.revision)
        await self._node.read_index()
        after = await self._hash(0)
        found = hash_comparison.corrupt(self._node.member_id, before, after, _answered(others))
        if found is not None:
            await self._raise_alarm(found)

    async def _check_compacted(self, revision: int) -> None:
        own = await self._hash(revision)
        verdict = hash_comparison.compacted(
            self._node.member_id, own, await self._ask_others(revision)
        )
        for member in verdict.corrupt:
            await self._raise_alarm(member)
        if verdict.complete:
            self._compared = revision

    async def _raise_alarm(self, member: int) -> None:
        log.error("found corrupt data", extra=_fields([member]))
        request = rpc.AlarmRequest(
            action=rpc.AlarmRequest.ACTIVATE, memberID=member, alarm=rpc.CORRUPT
        )
        await self._node.propose(encode(Kind.ALARM, request.SerializeToString()))

    async def _hash(self, revision: int) -> KeysHash:
        result = await sliced.run(self._store.hash_readable(revision))
        return KeysHash(
            result.hash, result.hash_revision, result.compact_revision, self._store.revision
        )

    async def _answer(self, asking: int, body: bytes) -> bytes:
        (revision,) = decoded_question(_REVISION.unpack, body)
        return _ANSWER.pack(*await self._hash(revision))

    def _others(self) -> list[int]:
        return [member.id for member in self._members if member.id != self._node.member_id]

    def _all_connected(self) -> bool:
        return all(self._node.connected_since(member) for member in self._others())

    async def _connected(self, patience: float) -> None:
        """Wait until all members are connected, at most `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                while not self._all_connected():  # noqa: ASYNC110 (no event says so)
                    await asyncio.sleep(POLL)
        except TimeoutError:
            log.warning("some members cannot be compared with: they are not connected")

    async def _ask_others(self, revision: int) -> dict[int, KeysHash | None]:
        others = self._others()
        answers = await asyncio.gather(*(self._ask(member, revision) for member in others))
        return dict(zip(others, answers, strict=True))

    async def _ask(self, member: int, revision: int) -> KeysHash | None:
        if self._node.connected_since(member) is None:
            return None
        try:
            body = await self._node.ask(member, "hashkv", _REVISION.pack(revision), TIMEOUT)
            return KeysHash(*decoded_answer(_ANSWER.unpack, body))
        except Refusal as error:
            # The member may be behind, have compacted further, be gone, or answer what cannot be
            # decoded: then its keys are not compared.
            log.warning(
                "cannot fetch hash from a member",
                extra={"fields": {"member": f"{member:x}", "error": str(error)}},
            )
            return None


def _answered(answers: dict[int, KeysHash | None]) -> dict[int, KeysHash]:
    return {member: one for member, one in answers.items() if one is not None}


def _fields(members: Iterable[int]) -> dict[str, Any]:
    return {"fields": {"members": [f"{member:x}" for member in members]}}
