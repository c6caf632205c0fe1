"""The data directory of a member of a new cluster, made from a snapshot.

Every member of that cluster is made from the same file with the same `--initial-cluster` and token,
as with etcdutl. They begin with the same state at the same position of the log, above that of an
empty log: a member that was started without the snapshot is sent the state, and cannot lead.

A member begins on the directory only after all of it is durable. `restoring` is written before
everything else and `identity` after it. A restore that was killed leaves the first without the
second, and a member refuses to start on that (`data_directory.py`): it would serve a part of the
keys, or none.
"""

import shutil
from pathlib import Path
from typing import Final

from rusd.backup.restore import Restored, restore
from rusd.base import durable
from rusd.bbolt import Database
from rusd.config import Config, ConfigError
from rusd.member.bootstrap import initial_cluster
from rusd.member.data_directory import refuse_shared_journal, restoring_path
from rusd.member.identity import write_identity
from rusd.raft.commands import STAND_IN
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Position
from rusd.state import positions
from rusd.state.machine import StateMachine
from rusd.storage import Batch

#: Positions of the last entries that the state counts as applied. (An empty log ends at 1.)
_BEFORE: Final = Position(2, 1)
_LAST: Final = Position(3, 1)


def restore_member(config: Config, database: Database, *, bump: int = 0) -> Restored:
    """Write the data directory that `config` names; `bump` as in `restore`.

    Raises ConfigError if there is something already, SnapshotError, OSError, StorageError,
    JournalError. What was begun is removed then.
    """
    refuse_shared_journal(config)
    data, wal = config.data_path, config.wal_path
    if data.exists() and not _is_empty(data):
        raise ConfigError(f'data-dir "{data}" not empty or could not be read')
    if wal.exists():
        raise ConfigError(f'wal-dir "{wal}" exists')
    try:
        return _make(config, database, bump)
    except BaseException:
        shutil.rmtree(config.member_path, ignore_errors=True)
        shutil.rmtree(wal, ignore_errors=True)
        raise


def _make(config: Config, database: Database, bump: int) -> Restored:
    for directory in (config.data_path, config.member_path, config.wal_path):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory == config.member_path:
            durable.write(restoring_path(config), b"")
    members, identity = initial_cluster(config)
    state = config.member_path / "state"
    machine = StateMachine(state)
    try:
        restored = restore(database, machine.engine, bump=bump)
        batch = Batch()
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


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())
