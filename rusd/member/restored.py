"""The data directory of a member of a new cluster, made from a snapshot or from etcd's data.

Every member of that cluster is made from the same file with the same `--initial-cluster` and token,
as with etcdutl. They begin with the same state at the same position of the log, above that of an
empty log: a member that was started without the snapshot is sent the state, and cannot lead.

A member begins on the directory only after all of it is durable. `restoring` is written before
everything else and `identity` after it. A restore that was killed leaves the first without the
second, and a member refuses to start on that (`data_directory.py`): it would serve a part of the
keys, or none.
"""

import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from rusd.backup.archive.replay import APPLIED_IN
from rusd.backup.errors import SnapshotError
from rusd.backup.restore import Restored, bump_revision, restore
from rusd.base import durable
from rusd.bbolt import Database
from rusd.config import Config, ConfigError
from rusd.member.bootstrap import initial_cluster
from rusd.member.data_directory import refuse_shared_journal, restoring_path
from rusd.member.identity import write_identity
from rusd.raft.commands import STAND_IN
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Entry, Position, Request
from rusd.state import positions
from rusd.state.errors import Undecodable
from rusd.state.machine import StateMachine
from rusd.storage import Batch

#: Positions of the last entries that the state counts as applied. (An empty log ends at 1.)
_BEFORE: Final = Position(2, 1)
_LAST: Final = Position(3, 1)
#: Proposals in one write. (etcd's requests have 1.5 MiB at most, unless a flag says otherwise.)
_APPLIED_AT_ONCE: Final = 64


def refuse_existing(config: Config) -> None:
    """Raise ConfigError if there is something already where `config` wants data."""
    refuse_shared_journal(config)
    data, wal = config.data_path, config.wal_path
    if data.exists() and not _is_empty(data):
        raise ConfigError(f'data-dir "{data}" not empty or could not be read')
    if wal.exists():
        raise ConfigError(f'wal-dir "{wal}" exists')


def restore_member(
    config: Config,
    database: Database,
    *,
    until: int = 0,
    proposals: Iterable[bytes] = (),
    bump: int = 0,
) -> Restored:
    """Write the data directory that `config` names.

    `until`: the newest revision to restore, 0: all; `proposals`: applied to the database, in their
    order, up to there; `bump`: then added to the newest revision.
    Raises ConfigError if there is something already, SnapshotError, OSError, StorageError,
    JournalError. What was begun is removed then.
    """
    refuse_existing(config)
    made: list[Path] = []
    try:
        _make_directories(config, made)
        return _fill(config, database, until, proposals, bump)
    except BaseException:
        for directory in made:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _make_directories(config: Config, made: list[Path]) -> None:
    """Make the directories; add to `made` what the restore owns from then on. Raises
    FileExistsError: another restore that began meanwhile owns it.
    """
    config.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (config.member_path, config.wal_path):
        directory.mkdir(mode=0o700, parents=True)
        made.append(directory)
        if directory == config.member_path:
            durable.write(restoring_path(config), b"")


def _fill(
    config: Config, database: Database, until: int, proposals: Iterable[bytes], bump: int
) -> Restored:
    members, identity = initial_cluster(config)
    state = config.member_path / "state"
    machine = StateMachine(state)
    try:
        restored = restore(database, machine.engine, until=until)
    finally:
        machine.close()
    # (Opened again, the machine knows what was restored.)
    machine = StateMachine(state)
    try:
        restored = _apply(machine, proposals, restored, until)
        if until and restored.revision < until:
            raise SnapshotError(f"what is restored ends with revision {restored.revision}")
        batch = Batch()
        if bump:
            bumped = bump_revision(batch, machine.store, bump)
            restored = restored._replace(revision=bumped)
        positions.store(batch, _LAST, _BEFORE)
        machine.engine.write(batch)
        machine.bootstrap(members, identity.cluster_id)
    finally:
        machine.close()
    journal = Journal(config.wal_path)
    try:
        journal.setCurrentTerm(_LAST.term, None)
        journal.reset_to((STAND_IN, *_BEFORE), (STAND_IN, *_LAST))
        journal.settle()
    finally:
        journal.close()
    durable.sync_tree(config.member_path)
    durable.sync_tree(config.wal_path)
    write_identity(config, identity)
    for directory in (config.data_path, config.wal_path):
        durable.sync_parents(directory)
    restoring_path(config).unlink()
    durable.sync(config.member_path)
    return restored


def _apply(
    machine: StateMachine, proposals: Iterable[bytes], restored: Restored, until: int
) -> Restored:
    """Apply proposals up to a revision (0: all); return what the state holds then. Raises
    SnapshotError if one of them is not understood: the rest would be applied to another state.
    """
    index = machine.positions()[0].index
    left = iter(proposals)

    def at_once() -> int:
        # (A request adds one revision at most.)
        to_come = until - machine.store.revision if until else _APPLIED_AT_ONCE
        return max(0, min(to_come, _APPLIED_AT_ONCE))

    while some := list(islice(left, at_once())):
        index += 1
        requests = [Request(proposal, wanted=True) for proposal in some]
        for result in machine.apply([Entry(Position(index, APPLIED_IN), requests)]):
            if isinstance(result, Undecodable):
                raise SnapshotError("a request of the log cannot be decoded")
    return restored._replace(revision=machine.store.revision)


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())
