"""The directories of one member: created with mode 0700, and checked for foreign files.

    <data-dir>/            member/ and, with --auto-tls, fixtures/
    <data-dir>/member/     identity, joining, life, lives, state/, snapshots/, exports/,
                           revision-times, without --wal-dir wal/, and restoring until `rusdutl
                           snapshot restore` or `rusdutl migrate` is done
    <wal-dir>/             LOCK, <16 hex digits>.wal

`prepare` runs before anything is opened. It refuses a directory that holds the data of etcd or of
another kind: a new, empty store beside it would be served as if the old keys had never been. Any
other unknown name is logged, as etcd does for its data directory.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from rusd.base.logs import get_logger
from rusd.config import Config, ConfigError

log = get_logger(__name__)

PRIVATE = 0o700

#: The console's record of revisions and their times.
REVISION_TIMES = "revision-times"

_DATA = re.compile(r"member|fixtures")
_MEMBER = re.compile(
    r"(?:identity|joining|life|lives|restoring)(?:\.new)?|wal|state|snapshots|exports"
    rf"|{REVISION_TIMES}(?:\.new)?"
)
_WAL = re.compile(r"LOCK|[0-9a-f]{16}\.wal")
_STATE = re.compile(r"CURRENT(?:\.new)?|db-\d+")
#: RocksDB's own files, and the one rocksdict puts beside them.
_DATABASE = re.compile(
    r"CURRENT|IDENTITY|LOCK|LOG(?:\.old\.\d+)?|MANIFEST-\d+|OPTIONS-\d+"
    r"|\d+\.(?:sst|log|blob|dbtmp)|OPTIONS-\d+\.dbtmp|rocksdict-config\.json"
)
_SNAPSHOTS = re.compile(r"incoming|outgoing-\d+")

#: A segment of etcd's WAL.
_ETCD_WAL = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.wal")

MIGRATE = (
    "rusd does not serve it. Make the data directory of every rusd member with 'rusdutl migrate "
    "--from' the stopped etcd's directory (or '--from-endpoint' of the running etcd): revisions, "
    "leases and users are kept. Or start rusd with a new, empty --data-dir and copy the keys with "
    "'etcdctl make-mirror'"
)


def prepare(config: Config) -> None:
    """Make the directories, 0700 where they are new, and look at what is in them.

    ConfigError if they hold data that is not a rusd member's. OSError if one cannot be made or
    read.
    """
    refuse_shared_journal(config)
    _refuse_foreign_data(config)
    _refuse_half_restored(config)
    for directory in (config.data_path, config.member_path, config.wal_path):
        _make_private(directory)
    for directory, name in _unknown(config):
        log.warning(
            "found invalid file under data directory",
            extra={"fields": {"filename": name, "data-dir": str(directory)}},
        )


def restoring_path(config: Config) -> Path:
    """Return the path of the file that exists while a snapshot is being restored."""
    return config.member_path / "restoring"


def is_founded(config: Config) -> bool:
    """Return whether the directory belongs to a member that has started. Raises ConfigError if it
    cannot be read.
    """
    try:
        return config.identity_path.exists()
    except OSError as error:
        raise ConfigError(f"cannot access data directory: {error}") from None


def refuse_shared_journal(config: Config) -> None:
    """Raise ConfigError for a journal inside another room's directory, with which it would be
    removed.
    """
    # Links followed: another name of the same place is as bad.
    wal, member = (Path(os.path.realpath(path)) for path in (config.wal_path, config.member_path))
    for taken in (wal, *wal.parents):
        if taken.parent == member and taken.name != "wal" and _MEMBER.fullmatch(taken.name):
            raise ConfigError(f"--wal-dir must be a directory of its own, not in {taken}")
    if wal in (member, member.parent):
        raise ConfigError(f"--wal-dir must be a directory of its own, not {wal}")


def _refuse_foreign_data(config: Config) -> None:
    found = _etcd_data(config)
    if found is not None:
        if config.identity_path.exists():
            raise ConfigError(
                f"{config.data_path} holds the data of a rusd member and of etcd ({found}): move "
                "etcd's files away if rusd's are to be served, or use another --data-dir"
            )
        raise ConfigError(f"{found} is etcd's data: {MIGRATE}")
    data = set(_names(config.data_path))
    if "proxy" in data:
        raise ConfigError(f"{config.data_path / 'proxy'} is the data of etcd's v2 proxy")
    if "member" not in data and ({"identity", "state"} <= data or {"snap", "wal"} <= data):
        raise ConfigError(
            f"--data-dir {config.data_path} is the 'member' directory of a member: give the "
            "directory that holds it"
        )


def _refuse_half_restored(config: Config) -> None:
    if restoring_path(config).exists() and not config.identity_path.exists():
        raise ConfigError(
            f"{config.member_path} is half of a snapshot: 'rusdutl snapshot restore' or 'rusdutl "
            "migrate' did not end. Remove the data directory (and --wal-dir) and do it again"
        )


def _etcd_data(config: Config) -> Path | None:
    """Return a file or directory that only etcd creates."""
    snap = config.member_path / "snap"
    if snap.exists():
        return snap
    for wal in dict.fromkeys((config.member_path / "wal", config.wal_path)):
        for name in _names(wal):
            if _ETCD_WAL.fullmatch(name):
                return wal / name
    return None


def _unknown(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield names that neither rusd nor its libraries create, with their directories."""
    member = config.member_path
    places = [
        (config.data_path, _DATA),
        (member, _MEMBER),
        (config.wal_path, _WAL),
        (member / "snapshots", _SNAPSHOTS),
        (member / "state", _STATE),
    ]
    # A journal or a member that was moved with --wal-dir leaves an old directory behind.
    if config.wal_path != member / "wal":
        places.append((member / "wal", re.compile("(?!)")))
    places += [
        (member / "state" / name, _DATABASE)
        for name in _names(member / "state")
        if name.startswith("db-")
    ]
    own = {config.wal_path.absolute()}
    for directory, ours in places:
        for name in _names(directory):
            if not ours.fullmatch(name) and (directory / name).absolute() not in own:
                yield directory, name


def _names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; empty if it does not exist."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make_private(directory: Path) -> None:
    """Make a directory and its missing parents as etcd does; warn if others may read it."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=PRIVATE, exist_ok=True)
    mode = directory.stat().st_mode
    if stat.S_IMODE(mode) != PRIVATE:
        log.warning(
            "check file permission",
            extra={
                "fields": {
                    "error": f'directory "{directory}" exist, but the permission is '
                    f'"{stat.filemode(mode)}". The recommended permission is "-rwx------" to '
                    "prevent possible unprivileged access to the data"
                }
            },
        )
