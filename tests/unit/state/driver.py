"""A state machine on a real database, fed with entries as Raft would feed it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.ports import Entry, Position, Request
from rusd.state.command import Kind, encode
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.state.result import Applied
from rusd.wire.keyvalue import Event

M = TypeVar("M", bound=Message)


class Driver:
    """Applies one request per entry and decodes the answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.term = 1
        self.events: list[tuple[int, list[Event]]] = []
        self.machine = StateMachine(directory)
        self.listen()

    def restart(self) -> None:
        """Close the database and open it again."""
        self.machine.close()
        self.machine = StateMachine(self.directory)
        self.listen()

    def listen(self, **listeners: Any) -> None:
        """Bind listeners, and the driver's own to the events unless others are given."""
        self.machine.listen(Listeners(**{"events": self.events.extend, **listeners}))

    def entry(self, payloads: Iterable[bytes], wanted: bool = True) -> Entry:
        """The next entry of the log, in the current term."""
        index = self.machine.positions()[0].index + 1
        return Entry(Position(index, self.term), [Request(one, wanted) for one in payloads])

    def apply_payloads(self, payloads: Sequence[bytes], wanted: bool = True) -> list[object]:
        return self.machine.apply([self.entry(payloads, wanted)])

    def apply(self, kind: Kind, body: bytes) -> Applied:
        """Apply one request; raise its refusal."""
        (result,) = self.apply_payloads([encode(kind, body)])
        if isinstance(result, Refusal):
            raise result
        assert isinstance(result, Applied)
        return result

    def call(self, kind: Kind, request: Message, response: type[M]) -> tuple[int, M]:
        """(revision of the answer, answer)."""
        applied = self.apply(kind, request.SerializeToString())
        return applied.revision, response.FromString(applied.body)

    def put(self, key: bytes, value: bytes = b"", **options: Any) -> rpc.PutResponse:
        request = rpc.PutRequest(key=key, value=value, **options)
        return self.call(Kind.PUT, request, rpc.PutResponse)[1]

    def delete(
        self, key: bytes, range_end: bytes = b"", prev_kv: bool = False
    ) -> rpc.DeleteRangeResponse:
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
        return self.call(Kind.DELETE_RANGE, request, rpc.DeleteRangeResponse)[1]

    def txn(
        self,
        compare: Sequence[rpc.Compare] = (),
        success: Sequence[rpc.RequestOp] = (),
        failure: Sequence[rpc.RequestOp] = (),
    ) -> rpc.TxnResponse:
        request = rpc.TxnRequest(compare=compare, success=success, failure=failure)
        return self.call(Kind.TXN, request, rpc.TxnResponse)[1]

    def compact(self, revision: int) -> int:
        request = rpc.CompactionRequest(revision=revision)
        return self.call(Kind.COMPACT, request, rpc.CompactionResponse)[0]

    def grant(self, lease_id: int, ttl: int = 60) -> rpc.LeaseGrantResponse:
        request = rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl)
        return self.call(Kind.LEASE_GRANT, request, rpc.LeaseGrantResponse)[1]

    def revoke(self, lease_id: int) -> int:
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        return self.call(Kind.LEASE_REVOKE, request, rpc.LeaseRevokeResponse)[0]

    def alarm(self, action: int, member_id: int = 0, kind: int = 0) -> list[tuple[int, int]]:
        request = rpc.AlarmRequest(action=action, memberID=member_id, alarm=kind)  # type: ignore
        _, response = self.call(Kind.ALARM, request, rpc.AlarmResponse)
        return [(one.memberID, one.alarm) for one in response.alarms]

    def values(self) -> dict[bytes, bytes]:
        """All live keys and values."""
        return {kv.key: kv.value for kv in self.all()}

    def all(self) -> list[Any]:
        """All live KeyValues in key order."""
        from rusd.proto import kv_pb2

        found = self.machine.store.range(rpc.RangeRequest(key=b"\0", range_end=b"\0"))
        return [kv_pb2.KeyValue.FromString(encoded) for encoded in found.kvs]


def put_op(key: bytes, value: bytes = b"", **options: Any) -> rpc.RequestOp:
    """A put inside a txn."""
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, **options))


def delete_op(key: bytes, range_end: bytes = b"", **options: Any) -> rpc.RequestOp:
    """A delete inside a txn."""
    request = rpc.DeleteRangeRequest(key=key, range_end=range_end, **options)
    return rpc.RequestOp(request_delete_range=request)


def range_op(key: bytes, range_end: bytes = b"", **options: Any) -> rpc.RequestOp:
    """A range inside a txn."""
    request = rpc.RangeRequest(key=key, range_end=range_end, **options)
    return rpc.RequestOp(request_range=request)


def txn_op(
    compare: Sequence[rpc.Compare] = (),
    success: Sequence[rpc.RequestOp] = (),
    failure: Sequence[rpc.RequestOp] = (),
) -> rpc.RequestOp:
    """A txn inside a txn."""
    request = rpc.TxnRequest(compare=compare, success=success, failure=failure)
    return rpc.RequestOp(request_txn=request)


def version_is(key: bytes, version: int) -> rpc.Compare:
    """The condition that a key has been put `version` times since its creation."""
    return rpc.Compare(key=key, target=rpc.Compare.VERSION, version=version)


def restore(machine: StateMachine, checkpoint: Path) -> None:
    """Replace the state by a checkpoint, as Raft does it."""
    prepared = machine.prepare(checkpoint)
    prepared.commit()
    prepared.install()
    prepared.release()
