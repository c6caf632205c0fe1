"""The replicated state machine: committed entries in, storage writes, answers and events out.

All entries of one apply become one storage write, which also carries the log position they end
at; after a crash the log is replayed from that position, so nothing is applied twice or skipped.

Long work is done in slices: `begin` returns a generator in place of the results. Until the commit,
the store reads as before, and a restart or a snapshot drops an unfinished apply. (Leases, members
and alarms in memory run ahead of the store meanwhile, by committed requests not answered yet.)

Two members that applied the same entries hold the same bytes: nothing here looks at a clock, a
random number, a flag or the member's own id, and whether a client waits changes only what is
encoded for it.

A request that is refused (EtcdError) changes nothing. Any other failure leaves the batch half made
and must end the process: the member would no longer know what it has applied.
"""

import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import GeneratorType
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError, Message

from rusd.base import sliced
from rusd.base.logs import get_logger
from rusd.mvcc.overlay import Events
from rusd.mvcc.store import Store, Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.ports import Entry, Membership, Position, Request, Slices, Unfinished
from rusd.rpc.errors import CORRUPT, LEADER_CHANGED, NO_SPACE, UNDECODABLE, EtcdError
from rusd.state import txn
from rusd.state.alarms import Alarm, Alarms
from rusd.state.command import Kind, LeaseExpiry, MemberAddition
from rusd.state.cost import txn_cost
from rusd.state.database_directory import DatabaseDirectory
from rusd.state.leases import Leases
from rusd.state.members import Member, Members
from rusd.state.result import Applied
from rusd.state.write_txn import WriteTxn, check_key, check_put
from rusd.storage import Batch, Engine, Family, StorageError
from rusd.wire import kv_response

log = get_logger(__name__)

_POSITIONS_KEY = b"raft/positions"
_POSITIONS = struct.Struct(">4Q")
_EMPTY = Position(1, 0)
#: Bytes that a lease takes in etcd, about.
LEASE_SIZE = 64


class LeaseListener(Protocol):
    """Hears of leases after they are applied (the leader's expiry timer)."""

    def granted(self, lease_id: int, ttl: int) -> None: ...
    def revoked(self, lease_id: int) -> None: ...
    def restored(self) -> None: ...


class _NoLeaseListener:
    def granted(self, lease_id: int, ttl: int) -> None: ...
    def revoked(self, lease_id: int) -> None: ...
    def restored(self) -> None: ...


Work = Generator[None, None, Applied]

#: Writes in one apply above which no further entry is added to it, and within an entry those
#: between two yields.
MAX_APPLY_WRITES = 6000
#: Keys freed in one slice.
_KEYS_FREED_PER_SLICE = 5000
#: Revisions, and events, that are told of in one slice.
EVENTS_PER_SLICE = 500


class _Command(NamedTuple):
    """How one kind is decoded and applied."""

    decode: Callable[[bytes], Any]
    #: Long work is a generator that yields between slices.
    apply: Callable[[Writer, Any, bool], Applied | Work]


class StateMachine:
    """The Machine of `rusd/raft/ports.py` with etcd's meaning.

    `store`, `leases`, `members` and `alarms` stay the same objects for life, also over a restore;
    `engine` does not.
    The `on_*` hooks and `lease_listener` are assigned by whoever puts the member together; they
    are called after the storage write, on the thread that called `apply`.
    """

    def __init__(self, directory: Path) -> None:
        """Open (or create) the state under `directory`; StorageError if it is damaged."""
        self._directory = DatabaseDirectory(directory)
        #: A read met damage: this member must not serve on.
        self.on_damage: Callable[[StorageError], None] = lambda error: None
        self.engine: Engine = self._directory.open()
        self.engine.on_damage = self._damaged
        self.store = Store(self.engine)
        self.leases = Leases()
        self.members = Members()
        self.alarms = Alarms()
        #: (revision, events) in order, once for every apply that changed keys.
        self.on_events: Callable[[list[tuple[int, Events]]], None] = lambda batches: None
        #: Before `restore` closes the database: whoever works on it in slices must stop.
        self.on_restoring: Callable[[], None] = lambda: None
        #: After `restore`: revisions may have jumped.
        self.on_restored: Callable[[], None] = lambda: None
        #: A compaction to this revision was applied; the disk space is not freed yet.
        self.on_compacted: Callable[[int], None] = lambda revision: None
        #: The membership changed; called within `apply` and `restore`.
        self.on_membership: Callable[[Membership], None] = lambda membership: None
        self.lease_listener: LeaseListener = _NoLeaseListener()
        self._applied = self._before = _EMPTY
        #: Term of the entry that is being applied.
        self._term = 0
        self._notices: list[Callable[[], None]] = []
        #: An apply that was begun in slices.
        self._unfinished: Slices | None = None
        self._commands = self._table()
        self._load()

    def _table(self) -> dict[int, _Command]:
        def message(kind: type[Message]) -> Callable[[bytes], Any]:
            return kind.FromString

        return {
            Kind.PUT: _Command(message(rpc.PutRequest), self._put),
            Kind.DELETE_RANGE: _Command(message(rpc.DeleteRangeRequest), self._delete_range),
            Kind.TXN: _Command(message(rpc.TxnRequest), self._txn),
            Kind.COMPACT: _Command(message(rpc.CompactionRequest), self._compact),
            Kind.LEASE_GRANT: _Command(message(rpc.LeaseGrantRequest), self._lease_grant),
            Kind.LEASE_REVOKE: _Command(message(rpc.LeaseRevokeRequest), self._lease_revoke),
            Kind.LEASE_EXPIRE: _Command(LeaseExpiry.decode, self._lease_expire),
            Kind.LEASE_CHECKPOINT: _Command(
                message(rpc.LeaseCheckpointRequest), self._lease_checkpoint
            ),
            Kind.ALARM: _Command(message(rpc.AlarmRequest), self._alarm),
            Kind.MEMBER_ATTRIBUTES: _Command(Member.parse, self._member_attributes),
            Kind.CLUSTER_VERSION: _Command(bytes.decode, self._cluster_version),
            Kind.MEMBER_ADD: _Command(MemberAddition.decode, self._member_add),
            Kind.MEMBER_REMOVE: _Command(Member.parse, self._member_remove),
            Kind.MEMBER_UPDATE: _Command(Member.parse, self._member_update),
            Kind.MEMBER_PROMOTE: _Command(Member.parse, self._member_promote),
        }

    def _load(self) -> None:
        stored = self.engine.get(Family.META, _POSITIONS_KEY)
        self._applied = self._before = _EMPTY
        if stored is not None:
            index, term, index_before, term_before = _POSITIONS.unpack(stored)
            self._applied = Position(index, term)
            self._before = Position(index_before, term_before)
        for records in (self.leases, self.members, self.alarms):
            records.load(self.engine)

    # Raft's side (rusd/raft/ports.py)

    def positions(self) -> tuple[Position, Position]:
        return self._applied, self._before

    def apply(self, entries: Sequence[Entry]) -> list[object]:
        """Apply all of them at once."""
        results: list[object] = []
        while entries:
            begun = self.begin(entries)
            results += begun if isinstance(begun, list) else sliced.finish(begun.slices)
            reached = self._applied.index
            entries = [entry for entry in entries if entry.position.index > reached]
        return results

    def begin(self, entries: Sequence[Entry]) -> list[object] | Unfinished:
        writer = self.store.begin()
        results: list[object] = []
        before, applied = self._before, self._applied
        writes = writer.batch.operations
        for position, requests in entries:
            if position.index <= applied.index:
                results.extend([None] * len(requests))
                continue
            if position.index != applied.index + 1 or position.term < applied.term:
                raise RuntimeError(f"entry {position} does not follow {applied}")
            self._term = position.term
            before, applied = applied, position
            for count, (payload, wanted) in enumerate(requests, 1):
                result = self._apply_request(writer, payload, wanted)
                if type(result) is GeneratorType or len(writes) > MAX_APPLY_WRITES:
                    left = islice(requests, count, None)
                    self._unfinished = self._go_on(
                        writer, results, result, wanted, left, (applied, before)
                    )
                    return Unfinished(self._unfinished, position.index)
                results.append(result if wanted else None)
        if applied is not self._applied:
            self._commit(writer, applied, before)
            self._tell_notices()
            if writer.events:
                self.on_events(writer.events)
        return results

    def _go_on(
        self,
        writer: Writer,
        results: list[object],
        begun: Applied | EtcdError | Work,
        wanted: bool,
        left: Iterator[Request],
        positions: tuple[Position, Position],
    ) -> Slices:
        """What is left of an entry from the request on that was `begun`."""
        try:
            written = 0
            while True:
                if isinstance(begun, GeneratorType):
                    begun = yield from _ended(begun)
                results.append(begun if wanted else None)
                if len(writer.batch) - written > MAX_APPLY_WRITES:
                    writer.spill()
                    written = len(writer.batch)
                    yield
                request = next(left, None)
                if request is None:
                    break
                wanted = request.wanted
                begun = self._apply_request(writer, request.payload, wanted)
            self._commit(writer, *positions)
            yield
            self._tell_notices()
            yield from self._tell(writer.events)
            self._unfinished = None
            return results
        finally:
            writer.close()

    def _commit(self, writer: Writer, applied: Position, before: Position) -> None:
        writer.batch.put(Family.META, _POSITIONS_KEY, _POSITIONS.pack(*applied, *before))
        writer.commit()
        self._applied, self._before = applied, before

    def _tell_notices(self) -> None:
        notices, self._notices = self._notices, []
        for notice in notices:
            notice()

    def _tell(self, batches: list[tuple[int, Events]]) -> Generator[None, None, None]:
        """Tell of the events, some revisions at a time."""
        told: list[tuple[int, Events]] = []
        size = 0
        for batch in batches:
            told.append(batch)
            size += len(batch[1])
            if size >= EVENTS_PER_SLICE:
                self.on_events(told)
                told, size = [], 0
                yield
        if told:
            self.on_events(told)

    def _forget(self) -> None:
        """Give up an apply that is not finished: the state is replaced, or closed."""
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            unfinished.close()
        self._notices = []

    def sync(self) -> None:
        self.engine.sync()

    def checkpoint(self, directory: Path) -> bool:
        whole = self.store.checkpoint_lock
        if not whole.acquire(blocking=False):
            return False
        try:
            self.engine.checkpoint(directory)
        finally:
            whole.release()
        return True

    def restore(self, directory: Path) -> None:
        self._forget()
        self.on_restoring()
        self.engine = self._directory.replace(self.engine, directory)
        self.engine.on_damage = self._damaged
        self.store.reopen(self.engine)
        self._load()
        self.on_restored()
        self.on_membership(self.members.membership())
        self.lease_listener.restored()

    def _damaged(self, error: StorageError) -> None:
        self.on_damage(error)

    # The member's side

    @property
    def size(self) -> int:
        """Bytes allocated by etcd's measure, which the quota bounds; never 0."""
        return self.store.size.allocated + LEASE_SIZE * len(self.leases)

    @property
    def size_in_use(self) -> int:
        """Bytes of `size` that hold data; never 0."""
        return self.store.size.in_use + LEASE_SIZE * len(self.leases)

    def bootstrap(self, members: Sequence[Member], cluster_id: int) -> None:
        """Write the first membership, unless the state has one. Every member of a new cluster
        must call this with the same arguments before its first entry."""
        if self.members.cluster_id:
            return
        batch = Batch()
        self.members.bootstrap(batch, members, cluster_id)
        self.engine.write(batch)
        self.engine.sync()

    def close(self) -> None:
        """Make everything durable and release the database."""
        self._forget()
        self.engine.sync()
        self.engine.close()

    # One request

    def _apply_request(
        self, writer: Writer, payload: bytes, wanted: bool
    ) -> Applied | EtcdError | Work:
        """Apply a request; a generator, which has done its first slice, if there is more."""
        command = self._commands.get(payload[0]) if payload else None
        if command is None:
            log.error("unknown kind of proposal ignored", extra={"fields": {"size": len(payload)}})
            return UNDECODABLE
        try:
            request = command.decode(payload[1:])
        except (DecodeError, ValueError):
            # The proposer checks what it sends, so this is a bug somewhere. All members skip it
            # alike; ending them all over it would be worse.
            log.error("broken proposal ignored", extra={"fields": {"kind": payload[0]}})
            return UNDECODABLE
        try:
            result = command.apply(writer, request, wanted)
            if isinstance(result, GeneratorType):
                next(result)
            return result
        except StopIteration as end:
            applied: Applied = end.value
            return applied
        except EtcdError as refusal:
            # The error is shared by all who raise it: it would keep every traceback, and with
            # that every refused request, for good.
            return refusal.with_traceback(None)

    def _refuse_if_corrupt(self) -> None:
        if self.alarms.corrupt:
            raise CORRUPT

    def _refuse_growth(self) -> None:
        self._refuse_if_corrupt()
        if self.alarms.no_space:
            raise NO_SPACE

    def _put(self, writer: Writer, request: rpc.PutRequest, wanted: bool) -> Applied:
        self._refuse_growth()
        lease = request.lease
        if lease:
            self.leases.require(lease)
        if request.ignore_value or request.ignore_lease:
            check_put(writer, self.leases, request)
            write_txn = WriteTxn(writer, self.leases, wanted)
            body = write_txn.put(request)
            return Applied(write_txn.end(), body)
        # As `WriteTxn.put` does it, without what only a txn needs.
        check_key(request)
        key = request.key
        before = writer.put(key, request.value, lease)
        old_lease = 0 if before is None else before.lease
        if old_lease != lease:
            self.leases.reattach(writer.batch, key, old_lease, lease)
        body = b""
        if wanted and request.prev_kv and before is not None:
            body = kv_response.put_response(before.kv)
        return Applied(writer.revision, body)

    def _delete_range(
        self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool
    ) -> Applied | Work:
        self._refuse_if_corrupt()
        if not request.range_end:
            return self._delete_one(writer, request, wanted)
        return self._delete_interval(writer, request, wanted)

    def _delete_interval(
        self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool
    ) -> Work:
        write_txn = WriteTxn(writer, self.leases, wanted)
        body = yield from write_txn.delete_range(request)
        return Applied(write_txn.end(), body)

    def _delete_one(self, writer: Writer, request: rpc.DeleteRangeRequest, wanted: bool) -> Applied:
        before = writer.delete(request.key)
        if before is None:
            return Applied(writer.revision, b"")
        if before.lease:
            self.leases.reattach(writer.batch, request.key, before.lease, 0)
        body = b""
        if wanted:
            previous = kv_response.previous((before.kv,)) if request.prev_kv else b""
            body = kv_response.delete_response(1, previous)
        return Applied(writer.revision, body)

    def _txn(self, writer: Writer, request: rpc.TxnRequest, wanted: bool) -> Applied | Work:
        self._refuse_if_corrupt()
        if self.alarms.no_space and txn_cost(request) > 0:
            raise NO_SPACE
        return txn.write(writer, self.leases, request, wanted)

    def _compact(self, writer: Writer, request: rpc.CompactionRequest, wanted: bool) -> Applied:
        self._refuse_if_corrupt()
        revision = request.revision
        writer.compact(revision)
        self._notices.append(lambda: self.on_compacted(revision))
        return Applied(writer.revision, b"")

    def _lease_grant(self, writer: Writer, request: rpc.LeaseGrantRequest, wanted: bool) -> Applied:
        self._refuse_growth()
        lease = self.leases.grant(writer.batch, request.ID, request.TTL)
        self._notices.append(lambda: self.lease_listener.granted(lease.id, lease.ttl))
        return Applied(writer.revision, kv_response.lease_grant_response(lease.id, lease.ttl))

    def _lease_revoke(self, writer: Writer, request: rpc.LeaseRevokeRequest, wanted: bool) -> Work:
        return self._end_lease(writer, request.ID)

    def _lease_expire(self, writer: Writer, request: LeaseExpiry, wanted: bool) -> Work:
        if request.term != self._term:
            raise LEADER_CHANGED
        return self._end_lease(writer, request.lease_id)

    def _end_lease(self, writer: Writer, lease_id: int) -> Work:
        self._refuse_if_corrupt()
        lease = self.leases.require(lease_id)
        write_txn = WriteTxn(writer, self.leases, wanted=False)
        yield from write_txn.end_lease(lease)
        revision = write_txn.end()
        self.leases.remove(writer.batch, lease)
        self._notices.append(lambda: self.lease_listener.revoked(lease_id))
        # Freeing a million keys at once would take as long as a slice of work, and more.
        while lease.keys:
            for _ in range(min(_KEYS_FREED_PER_SLICE, len(lease.keys))):
                lease.keys.pop()
            yield
        return Applied(revision, b"")

    def _lease_checkpoint(
        self, writer: Writer, request: rpc.LeaseCheckpointRequest, wanted: bool
    ) -> Applied:
        for one in request.checkpoints:
            self.leases.checkpoint(writer.batch, one.ID, one.remaining_TTL)
        return Applied(writer.revision, b"")

    def _alarm(self, writer: Writer, request: rpc.AlarmRequest, wanted: bool) -> Applied:
        alarm = Alarm(request.memberID, request.alarm)
        if request.action == rpc.AlarmRequest.GET:
            listed = self.alarms.get(request.alarm)
        elif request.action == rpc.AlarmRequest.ACTIVATE:
            listed = self.alarms.activate(writer.batch, alarm)
        elif request.action == rpc.AlarmRequest.DEACTIVATE:
            listed = self.alarms.deactivate(writer.batch, alarm)
        else:
            listed = []
        encoded = [one.encode() for one in listed] if wanted else []
        return Applied(writer.revision, kv_response.alarm_response(encoded))

    def _member_attributes(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        started = self.members.membership().started
        self.members.publish(writer.batch, request.id, request.name, request.client_urls)
        if self.members.membership().started != started:
            self._notices.append(lambda: self.on_membership(self.members.membership()))
        return Applied(writer.revision, b"")

    def _member_add(self, writer: Writer, request: MemberAddition, wanted: bool) -> Applied:
        self.members.add(writer.batch, request.member, request.max_learners)
        return self._membership_changed(request.member)

    def _member_remove(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self.members.remove(writer.batch, request.id)
        return self._membership_changed(None)

    def _member_update(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self.members.update(writer.batch, request.id, request.peer_urls)
        return self._membership_changed(None)

    def _member_promote(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self.members.promote(writer.batch, request.id)
        return self._membership_changed(None)

    def _membership_changed(self, added: Member | None) -> Applied:
        """The answers name all members; their headers carry no revision."""
        self._notices.append(lambda: self.on_membership(self.members.membership()))
        members = [member.message() for member in self.members]
        response: Message = rpc.MemberRemoveResponse(members=members)
        if added is not None:
            response = rpc.MemberAddResponse(member=added.message(), members=members)
        return Applied(0, response.SerializeToString())

    def _cluster_version(self, writer: Writer, request: str, wanted: bool) -> Applied:
        self.members.set_cluster_version(writer.batch, request)
        return Applied(writer.revision, b"")


def _ended(work: Work) -> Generator[None, None, Applied | EtcdError]:
    """The result of work, which may end with a refusal."""
    try:
        return (yield from work)
    except EtcdError as refusal:
        return refusal.with_traceback(None)
