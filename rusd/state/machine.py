"""The replicated state machine: committed entries in, storage writes, results and events out.

All entries of one apply become one storage write, which also carries the log position of the last
of them (`entry_apply`). After a crash the log is replayed from that position, so no entry is
applied twice or skipped.

Long work is done in slices: `begin` returns a generator in place of the results. Until the commit,
the store reads as before, and a restart or a snapshot drops an unfinished apply. (Leases, members
and alarms in memory run ahead of the store meanwhile, by committed requests not answered yet.)

Two members that applied the same entries hold the same bytes: nothing here reads a clock, a random
number, a flag or the member's own id, and `wanted` decides only whether an answer is encoded.

A refused request (Refusal) changes nothing. Any other exception leaves the batch half made and
must end the process: the member no longer knows what it has applied.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from rusd.auth.store import AuthStore
from rusd.base import sliced
from rusd.mvcc.store import Store
from rusd.raft.ports import CheckpointError, Entry, Position, Unfinished
from rusd.state import auth_records
from rusd.state.alarms import Alarms
from rusd.state.auth_commands import AuthCommands
from rusd.state.cluster_commands import ClusterCommands
from rusd.state.commands import Commands
from rusd.state.context import ApplyContext
from rusd.state.database_directory import DatabaseDirectory, Replacement
from rusd.state.entry_apply import EntryApply
from rusd.state.key_commands import KeyCommands
from rusd.state.lease_commands import LeaseCommands
from rusd.state.leases import Leases
from rusd.state.listeners import Listeners
from rusd.state.members import Member, Members
from rusd.state.permissions import Permissions
from rusd.state.positions import Positions
from rusd.storage import Batch, Engine, StorageError

#: Bytes that etcd stores for a lease, approximately.
LEASE_SIZE = 64


class StateMachine:
    """etcd's implementation of the `Machine` port of `rusd/raft/ports.py`.

    `store`, `leases`, `members`, `alarms` and `auth` stay the same objects for life, also over a
    restore; `engine` does not.
    """

    def __init__(self, directory: Path) -> None:
        """Open or create the state in `directory`. Raises StorageError if it is damaged."""
        self._directory = DatabaseDirectory(directory)
        self._listeners = Listeners()
        self.engine: Engine = self._directory.open()
        try:
            self._build()
        except BaseException:
            self.engine.close()
            raise

    def _build(self) -> None:
        """Read the state from the engine."""
        self.engine.on_damage = self._damaged
        self.store = Store(self.engine)
        self.leases = Leases()
        self.members = Members()
        self.alarms = Alarms()
        self.auth = AuthStore()
        #: What requests on keys and leases need.
        self.permissions = Permissions(self.auth, self.leases)
        self._positions = Positions()
        self._context = ApplyContext()
        permissions, context = self.permissions, self._context
        self._commands = Commands(
            {
                **KeyCommands(self.leases, self.alarms, permissions, context).handlers(),
                **LeaseCommands(self.leases, self.alarms, permissions, context).handlers(),
                **ClusterCommands(self.members, self.alarms, context).handlers(),
                **AuthCommands(self.auth, context).handlers(),
            },
            self.auth,
        )
        #: The last apply, if it took several slices.
        self._apply: EntryApply | None = None
        self._load()

    def listen(self, listeners: Listeners) -> None:
        """Bind all listeners, in place of those bound before."""
        self._listeners = listeners

    def _load(self) -> None:
        for records in (self._positions, self.leases, self.members, self.alarms):
            records.load(self.engine)
        auth_records.load(self.auth, self.engine)

    # For Raft (rusd/raft/ports.py)

    def positions(self) -> tuple[Position, Position]:
        """Positions of the last applied entry and of its predecessor."""
        return self._positions.applied, self._positions.before

    def apply(self, entries: Sequence[Entry]) -> list[object]:
        """Apply all entries at once."""
        results: list[object] = []
        while entries:
            begun = self.begin(entries)
            results += begun if isinstance(begun, list) else sliced.finish(begun.slices)
            reached = self._positions.applied.index
            entries = [entry for entry in entries if entry.position.index > reached]
        return results

    def begin(self, entries: Sequence[Entry]) -> list[object] | Unfinished:
        """Apply entries; see `EntryApply.run`."""
        apply = EntryApply(
            self.store, self._commands, self._positions, self._context, self._listeners
        )
        begun = apply.run(entries)
        self._apply = apply if isinstance(begun, Unfinished) else None
        return begun

    def _abandon_apply(self) -> None:
        """Give up an unfinished apply, since the state is replaced or closed."""
        apply, self._apply = self._apply, None
        if apply is not None and not apply.done:
            apply.close()

    def sync(self) -> None:
        """Make every write so far durable."""
        self.engine.sync()

    def checkpoint(self, directory: Path) -> bool:
        """Write a consistent copy of the state to `directory`, which must not exist.

        Returns False if an unfinished apply has spilled rows, which the copy would contain, or if
        the database was replaced meanwhile. May run in a thread.
        """
        engine = self.engine
        lock = self.store.checkpoint_lock
        if not lock.acquire(blocking=False):
            return False
        try:
            engine.checkpoint(directory)
        except StorageError:
            if engine is not self.engine:
                return False
            raise
        finally:
            lock.release()
        return True

    def prepare(self, checkpoint: Path) -> "PreparedState":
        """Move `checkpoint` beside the live database, make it durable and open it. May run in a
        thread. Raises CheckpointError if it cannot (a full disk, a damaged file); the state
        stays.
        """
        try:
            replacement = self._directory.prepare(self.engine, checkpoint)
        except (StorageError, OSError) as error:
            raise CheckpointError(str(error)) from error
        positions = Positions()
        try:
            positions.load(replacement.engine)
        except StorageError as error:
            replacement.discard()
            raise CheckpointError(str(error)) from error
        return PreparedState(replacement, positions.applied, self._install)

    def _install(self, prepared: Replacement) -> None:
        self._abandon_apply()
        listeners = self._listeners
        listeners.before_restore()
        prepared.engine.write_seconds = self.engine.write_seconds
        self.engine = prepared.engine
        self.engine.on_damage = self._damaged
        self.store.reopen(self.engine)
        self._load()
        listeners.restored()
        listeners.auth_changed()
        listeners.membership(self.members.membership())
        listeners.leases.restored()

    def _damaged(self, error: StorageError) -> None:
        self._listeners.damage(error)

    # For the member

    @property
    def size(self) -> int:
        """Bytes allocated by etcd's measure, which the quota bounds; never 0."""
        return self.store.size.allocated + LEASE_SIZE * len(self.leases)

    @property
    def size_in_use(self) -> int:
        """Bytes of `size` that hold data; never 0."""
        return self.store.size.in_use + LEASE_SIZE * len(self.leases)

    def bootstrap(self, members: Sequence[Member], cluster_id: int) -> None:
        """Write the first membership, unless the state has one.

        Every bootstrap member of a new cluster must call this with the same arguments before its
        first entry.
        """
        if self.members.cluster_id:
            return
        batch = Batch()
        self.members.bootstrap(batch, members, cluster_id)
        self.engine.write(batch)
        self.engine.sync()

    def close(self) -> None:
        """Make every write durable and release the database."""
        self._abandon_apply()
        self.engine.sync()
        self.engine.close()


class PreparedState:
    """A checkpoint opened beside the live state (`rusd/raft/ports.py`, `Prepared`)."""

    def __init__(
        self,
        replacement: Replacement,
        position: Position,
        install: Callable[[Replacement], None],
    ) -> None:
        self.position = position
        self._replacement = replacement
        self._install = install
        self.commit = replacement.commit
        self.discard = replacement.discard
        self.release = replacement.release

    def install(self) -> None:
        """Serve this state, which was committed, from now on."""
        self._install(self._replacement)
