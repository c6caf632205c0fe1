"""Arguments and exit codes of `rusdutl`: 0 done, 1 it failed, 128 arguments that cannot be used
(etcdutl's codes).
"""

import argparse
import getpass
import mmap
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import rusd
from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_directory import open_etcd_directory
from rusd.backup.restore import Restored
from rusd.backup.snapshot_check import open_snapshot
from rusd.base.errors import Refusal
from rusd.bbolt import Database, check
from rusd.bbolt.errors import BboltError
from rusd.config import Config, ConfigError, check_bootstrap, load, parse_arguments
from rusd.member.restored import refuse_existing, restore_member
from rusd.raft.log.journal import JournalError
from rusd.storage import StorageError
from rusd.utl import printing
from rusd.utl.database import hash_kv, status
from rusd.utl.printing import Column

FAILED = 1
BAD_ARGUMENTS = 128


class _BadArguments(Exception):
    """Arguments that do not go together."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"Error: {message}", file=sys.stderr)
        self.print_usage(sys.stderr)
        sys.exit(BAD_ARGUMENTS)


def console() -> NoReturn:
    """Entry point of the `rusdutl` command."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run the command with `argv` (without the program's name); return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except _BadArguments as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    except (ConfigError, SnapshotError, StorageError, JournalError, Refusal, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rusdutl", description="Works on snapshots and data directories (etcdutl's verbs)."
    )
    _add_form(parser, default="simple")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    snapshots = commands.add_parser("snapshot", help="snapshots")
    _add_form(snapshots)
    snapshot = snapshots.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    shown = snapshot.add_parser("status", help="show what a snapshot holds")
    _add_file(shown)
    _add_form(shown)
    shown.set_defaults(run=_status)

    restored = snapshot.add_parser("restore", help="make a member's data directory of a snapshot")
    _add_file(restored)
    _add_form(restored)
    restored.add_argument(
        "--skip-hash-check",
        action="store_true",
        help="accept a file without its hash, such as one copied from a data directory",
    )
    _add_member(restored)
    restored.set_defaults(run=_restore)

    migrated = commands.add_parser("migrate", help="make a member's data directory of etcd's data")
    _add_form(migrated)
    source = migrated.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--from", dest="directory", type=Path, metavar="DIR", help="a stopped etcd's --data-dir"
    )
    source.add_argument(
        "--from-endpoint",
        dest="endpoints",
        metavar="URLS",
        help="of a running etcd, joined by commas: the first that answers is asked",
    )
    migrated.add_argument(
        "--from-wal-dir", dest="wal", type=Path, metavar="DIR", help="the stopped etcd's --wal-dir"
    )
    migrated.add_argument(
        "--cacert", type=Path, help="certificates that the endpoint's is signed by"
    )
    migrated.add_argument("--cert", type=Path, help="certificate shown to the endpoint")
    migrated.add_argument("--key", type=Path, help="private key of --cert")
    migrated.add_argument(
        "--user", default="", metavar="NAME[:PASSWORD]", help="a user with role root"
    )
    migrated.add_argument("--password", default="", help="of --user")
    _add_member(migrated)
    migrated.set_defaults(run=_migrate)

    hashed = commands.add_parser("hashkv", help="print the hash of the keys of a snapshot")
    _add_file(hashed)
    _add_form(hashed)
    hashed.add_argument("--rev", type=_natural, default=0, help="revision (default: the newest)")
    hashed.set_defaults(run=_hash_kv)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_member(restored: argparse.ArgumentParser) -> None:
    """Add what the new member is to be."""
    restored.add_argument("--data-dir", help="directory to make (default: NAME.rusd)")
    restored.add_argument("--wal-dir", help="directory of the log, if apart from the data")
    restored.add_argument("--name", default="default", help="of this member")
    restored.add_argument("--initial-cluster", help="name=URL of every member, joined by commas")
    restored.add_argument("--initial-cluster-token", default="etcd-cluster")
    restored.add_argument("--initial-advertise-peer-urls", default="http://localhost:2380")
    restored.add_argument(
        "--bump-revision",
        type=_natural,
        default=0,
        metavar="N",
        help="added to the newest revision, so that revisions handed out later do not come again",
    )
    restored.add_argument(
        "--mark-compacted",
        action="store_true",
        help="count all revisions up to there as compacted (required with --bump-revision)",
    )


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the snapshot")


def _add_form(parser: argparse.ArgumentParser, default: str = argparse.SUPPRESS) -> None:
    """Let the form of output stand at any place, before and after the verb, as etcdutl does.

    Only the outermost parser may have a default: those inside would replace what was given before.
    """
    parser.add_argument("-w", "--write-out", choices=tuple(printing.FORMS), default=default)


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file. Raises SnapshotError for an empty one."""
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise SnapshotError(f"{path} is empty") from error
        # (Not closed: a part of it that is still held keeps it open.)
        yield memoryview(mapped)


def _status(arguments: argparse.Namespace) -> int:
    with _mapped(arguments.file) as data:
        found = status(open_snapshot(data, skip_hash_check=True))
    size = printing.human_size(found.total_size)
    columns = [
        Column("hash", "Hash", "hash", found.hash, f"{found.hash:x}"),
        Column("revision", "Revision", "revision", found.revision, str(found.revision)),
        Column("total keys", "Keys", "totalKey", found.total_key, str(found.total_key)),
        Column("total size", "Size", "totalSize", found.total_size, size),
        Column("version", "Version", "version", found.version, found.version),
    ]
    print(printing.FORMS[arguments.write_out](columns))
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    config = _new_member(arguments)
    with _mapped(arguments.file) as data:
        database = open_snapshot(data, skip_hash_check=arguments.skip_hash_check)
        if arguments.skip_hash_check:
            _check(database)
        restored = restore_member(config, database, bump=arguments.bump_revision)
    print(f"restored {arguments.file} to {config.data_path}: {_held(restored)}")
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    config = _new_member(arguments)
    refuse_existing(config)
    if arguments.directory is None:
        return _migrate_running(arguments, config)
    with open_etcd_directory(arguments.directory, arguments.wal) as source:
        restored = restore_member(
            config, source.database, proposals=source.proposals(), bump=arguments.bump_revision
        )
    log = source.log
    print(
        f"migrated {arguments.directory} to {config.data_path}: {_held(restored)}, {len(log)} "
        f"entries of the write-ahead log (to index {log.last_index} of term {log.last_term})"
    )
    return 0


def _migrate_running(arguments: argparse.Namespace, config: Config) -> int:
    # (Imported late: it needs a library that a member does without.)
    from rusd.utl.download import Source, download

    user, _, password = arguments.user.partition(":")
    if user and not (password := arguments.password or password):
        password = getpass.getpass("Password: ")
    source = Source(
        [one.strip() for one in arguments.endpoints.split(",")],
        *(arguments.cacert, arguments.cert, arguments.key),
        *(user, password),
    )
    with tempfile.TemporaryDirectory(prefix="rusdutl-", dir=_existing(config.data_path)) as place:
        file = Path(place) / "snapshot.db"
        endpoint = download(source, file)
        with _mapped(file) as data:
            database = open_snapshot(data)
            restored = restore_member(config, database, bump=arguments.bump_revision)
    print(f"migrated {endpoint} to {config.data_path}: {_held(restored)}")
    return 0


def _existing(path: Path) -> Path:
    """Return the nearest directory above that exists: on the same disk, most likely."""
    return next(one for one in path.absolute().parents if one.is_dir())


def _held(restored: Restored) -> str:
    return f"revision {restored.revision}, {restored.rows} rows of history"


def _new_member(arguments: argparse.Namespace) -> Config:
    """Return the configuration of the member to make. Raises ConfigError, _BadArguments."""
    if bool(arguments.bump_revision) != arguments.mark_compacted:
        raise _BadArguments("--mark-compacted required if --revision-bump > 0")
    name = arguments.name
    flags = {
        "name": name,
        "data-dir": arguments.data_dir or f"{name}.rusd",
        "initial-cluster": arguments.initial_cluster or f"{name}=http://localhost:2380",
        "initial-cluster-token": arguments.initial_cluster_token,
        "initial-advertise-peer-urls": arguments.initial_advertise_peer_urls,
    }
    if arguments.wal_dir:
        flags["wal-dir"] = arguments.wal_dir
    config = load(parse_arguments([f"--{key}={value}" for key, value in flags.items()]), {}).config
    check_bootstrap(config)
    return config


def _check(database: Database) -> None:
    """Look at the whole structure, where no hash speaks for it."""
    try:
        check(database)
    except BboltError as error:
        raise SnapshotError(f"damaged: {error}") from error


def _hash_kv(arguments: argparse.Namespace) -> int:
    with _mapped(arguments.file) as data:
        database = open_snapshot(data, skip_hash_check=True)
        _check(database)
        found = hash_kv(database, arguments.rev)
    at, compacted = found.hash_revision, found.compact_revision
    columns = [
        Column("hash", "Hash", "hash", found.hash, str(found.hash)),
        Column("hash revision", "Hash revision", "hashRevision", at, str(at)),
        Column(
            "compact revision", "Compact revision", "compactRevision", compacted, str(compacted)
        ),
    ]
    print(printing.FORMS[arguments.write_out](columns))
    return 0


def _version(arguments: argparse.Namespace) -> int:
    print(f"rusdutl version: {rusd.__version__}\netcd API version: {rusd.ETCD_VERSION}")
    return 0
