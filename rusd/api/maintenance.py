"""etcdserverpb.Maintenance: status, alarms, hashes, defragmentation, snapshots, leadership."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from rusd import ETCD_VERSION
from rusd.api.downgrade import Downgrade
from rusd.api.snapshot_stream import SnapshotStream
from rusd.backup.snapshot_files import SnapshotFiles
from rusd.base import sliced
from rusd.base.chunks import Encoded, concatenated
from rusd.base.distribution import Distribution, exponential
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Features, Indexes, LeadershipTransfer, Proposer, ReadIndex, Role
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    BAD_LEADER_TRANSFEREE,
    NO_LEADER,
)
from rusd.rpc.methods import Methods, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler
from rusd.state.alarms import Alarm
from rusd.state.command import Kind, encode
from rusd.state.interface import WithAlarms, WithDatabase, WithKeys, WithMembers
from rusd.state.result import Applied
from rusd.wire.header import Headers


class Node(Role, Indexes, Proposer, ReadIndex, Features, LeadershipTransfer, Protocol):
    """The part of the Raft node in use."""


class Machine(WithAlarms, WithDatabase, WithKeys, WithMembers, Protocol):
    """The part of the state machine in use."""


class Durations:
    """Durations of maintenance calls, seconds, in etcd's buckets."""

    def __init__(self) -> None:
        self.defragment = Distribution(exponential(0.1, 2, 13))
        self.hash = Distribution(exponential(0.01, 2, 15))
        self.hash_kv = Distribution(exponential(0.01, 2, 15))


@asynccontextmanager
async def _measured(seconds: Distribution) -> AsyncIterator[None]:
    began = time.perf_counter()
    yield
    seconds.observe(time.perf_counter() - began)


class MaintenanceService:
    """etcdserverpb.Maintenance."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        headers: Headers,
        quota: int,
        snapshots: SnapshotFiles,
    ) -> None:
        """`quota`: the space quota in bytes, for Status."""
        self._node = node
        self._machine = machine
        self._headers = headers
        self._quota = quota
        self._snapshots = snapshots
        self._defragmenting = asyncio.Lock()
        self._downgrade = Downgrade(node, machine.members)
        self.seconds = Durations()

    @property
    def defragmenting(self) -> bool:
        """Whether the store is being defragmented."""
        return self._defragmenting.locked()

    def methods(self) -> Methods:
        """gRPC path -> method."""
        service = "/etcdserverpb.Maintenance/"
        return {
            service + "Status": Unary(rpc.StatusRequest, self.status),
            service + "Alarm": Unary(rpc.AlarmRequest, self.alarm),
            service + "Defragment": Unary(rpc.DefragmentRequest, self.defragment),
            service + "Hash": Unary(rpc.HashRequest, self.hash),
            service + "HashKV": Unary(rpc.HashKVRequest, self.hash_kv),
            service + "Snapshot": ServerStream(rpc.SnapshotRequest, self.snapshot),
            service + "MoveLeader": Unary(rpc.MoveLeaderRequest, self.move_leader),
            service + "Downgrade": Unary(rpc.DowngradeRequest, self.downgrade),
        }

    def status(self, request: rpc.StatusRequest, call: Call) -> Response:
        """Reports the local state of this member; waits for no other."""
        node, machine = self._node, self._machine
        target = machine.members.downgrade_target
        errors = [] if node.leader_id else [NO_LEADER.message]
        errors += [_alarm_text(alarm) for alarm in self._machine.alarms]
        return rpc.StatusResponse(
            header=self._headers.message(self._machine.store.revision),
            version=ETCD_VERSION,
            dbSize=machine.size,
            dbSizeInUse=machine.size_in_use,
            leader=node.leader_id,
            raftIndex=node.commit_index,
            raftAppliedIndex=node.applied_index,
            raftTerm=node.term,
            isLearner=node.is_learner,
            errors=errors,
            storageVersion=machine.members.storage_version,
            dbSizeQuota=self._quota,
            downgradeInfo=rpc.DowngradeInfo(enabled=target is not None, targetVersion=target or ""),
        ).SerializeToString()

    def alarm(self, request: rpc.AlarmRequest, call: Call) -> Response:
        """Proposes a change of the alarms, and also a listing, which is therefore linearizable."""
        payload = encode(Kind.ALARM, request.SerializeToString())
        return self._node.propose(payload).then(self._applied)

    def _applied(self, applied: Applied) -> Encoded:
        return concatenated(self._headers.field(applied.revision), applied.body)

    async def defragment(self, request: rpc.DefragmentRequest, call: Call) -> bytes:
        """Returns free space to the file system; reads and writes go on meanwhile.

        Calls run one after the other, as in etcd: a second one waits for the first.
        """
        async with self._defragmenting, _measured(self.seconds.defragment):
            await _uninterrupted(self._machine.engine.compact)
            self._machine.store.defragmented()
        return rpc.DefragmentResponse().SerializeToString()

    async def hash(self, request: rpc.HashRequest, call: Call) -> bytes:
        """Returns a checksum over everything committed."""
        revision = self._machine.store.revision
        async with _measured(self.seconds.hash):
            checksum = await sliced.run(self._machine.store.hash_slices())
        response = rpc.HashResponse(header=self._headers.message(revision), hash=checksum)
        return response.SerializeToString()

    async def hash_kv(self, request: rpc.HashKVRequest, call: Call) -> bytes:
        """Returns a checksum of the keys at a revision, equal on all members that have applied
        it.
        """
        async with _measured(self.seconds.hash_kv):
            result = await sliced.run(self._machine.store.hash_kv(request.revision))
        return rpc.HashKVResponse(
            header=self._headers.message(self._machine.store.revision),
            hash=result.hash,
            compact_revision=result.compact_revision,
            hash_revision=result.hash_revision,
        ).SerializeToString()

    def snapshot(
        self, request: rpc.SnapshotRequest, call: Call, responses: ResponseStream
    ) -> StreamHandler:
        """Sends the state as etcd's database file; see `snapshot_stream.py`."""
        return SnapshotStream(self._snapshots, self._machine.members.storage_version, responses)

    async def move_leader(self, request: rpc.MoveLeaderRequest, call: Call) -> bytes:
        """Transfers leadership. Raises BAD_LEADER_TRANSFEREE, or a timeout."""
        target = self._machine.members.get(request.targetID)
        if target is None or target.is_learner:
            raise BAD_LEADER_TRANSFEREE()
        await self._node.transfer_leadership(target.id)
        return rpc.MoveLeaderResponse().SerializeToString()

    async def downgrade(self, request: rpc.DowngradeRequest, call: Call) -> bytes:
        """Validates, begins or cancels a downgrade; see `downgrade.py`."""
        version = await self._downgrade.act(request)
        header = self._headers.message(self._machine.store.revision)
        return rpc.DowngradeResponse(header=header, version=version).SerializeToString()


async def _uninterrupted(work: Callable[[], None]) -> None:
    """Runs `work` in a thread. A cancelled caller still waits: the thread cannot be stopped."""
    thread = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _alarm_text(alarm: Alarm) -> str:
    """Returns an alarm as Status lists it: protobuf's text format, without zero fields."""
    kinds = {number: name for name, number in rpc.AlarmType.items()}
    member = f"memberID:{alarm.member_id} " if alarm.member_id else ""
    return f"{member}alarm:{kinds.get(alarm.kind, str(alarm.kind))} "
