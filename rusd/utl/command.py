"""Arguments and exit codes of `rusdutl`, which are etcdutl's: 0 done, 1 it failed or is no verb or
flag, 4 no form of output, 128 arguments that cannot be used.
"""

import argparse
import getpass
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import rusd
from rusd.backup.archive.replay import Source, older_and_further, sources
from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_directory import open_etcd_directory
from rusd.backup.restore import Restored
from rusd.backup.snapshot_check import applied, mapped, open_snapshot
from rusd.base.command_line import FAILED, Parser, run
from rusd.base.errors import Refusal
from rusd.bbolt import Database, check
from rusd.bbolt.errors import BboltError
from rusd.config import Config, ConfigError, check_bootstrap, load, parse_arguments
from rusd.config.parsers import duration
from rusd.member.restored import refuse_existing, restore_member
from rusd.raft.log.journal import JournalError
from rusd.storage import StorageError
from rusd.utl import completion, printing
from rusd.utl.database import hash_kv, status
from rusd.utl.defrag import defragment
from rusd.utl.printing import Column
from rusd.utl.progress import bar

BAD_FORM = 4
BAD_ARGUMENTS = 128
#: Seconds of waiting for a member that runs on the directory.
TIMEOUT = 10.0


class _BadArguments(Exception):
    """Arguments that do not go together."""

    def __init__(self, message: str, code: int = BAD_ARGUMENTS) -> None:
        super().__init__(message)
        self.code = code


def console() -> NoReturn:
    """Entry point of the `rusdutl` command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    sys.exit(run(lambda: main(sys.argv[1:])))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End as an error does: what was begun is removed, the keys of a cluster among it."""
    sys.exit(128 + number)


def main(argv: Sequence[str]) -> int:
    """Run the command with `argv` (without the program's name); return its exit code."""
    arguments = _parser().read(argv)
    if arguments is None:
        return 0
    try:
        code: int = arguments.run(arguments)
    except _BadArguments as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        raise  # the reader of the output has gone
    except MemoryError:
        print("Error: not enough memory: a size that the file says is wrong", file=sys.stderr)
        return FAILED
    except FileNotFoundError as error:
        print(f"Error: open {error.filename}: no such file or directory", file=sys.stderr)
        return FAILED
    except (ConfigError, SnapshotError, StorageError, JournalError, Refusal, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="rusdutl",
        description="Works on snapshots and data directories (etcdutl's verbs).",
        common=_add_form,
    )
    _add_form(parser, default="simple", timeout=TIMEOUT)

    snapshot = parser.verb("snapshot", text="snapshots")
    shown = snapshot.verb("status", text="show what a snapshot holds")
    shown.words("FILE", "the snapshot")
    shown.set_defaults(run=_status, verb="snapshot status", wrong=BAD_ARGUMENTS)

    restored = snapshot.verb("restore", text="make a member's data directory of a snapshot")
    restored.words("FILE", "the snapshot")
    restored.add_argument(
        "--from-archive",
        dest="archive",
        type=Path,
        metavar="DIR",
        help="the backups of rusd's members, and the entries between them; with FILE, which of "
        "them to begin with",
    )
    restored.add_argument(
        "--cluster-id",
        type=_hexadecimal,
        metavar="ID",
        help="of the backups, if DIR has those of several clusters",
    )
    restored.add_argument(
        "--skip-hash-check",
        action="store_true",
        help="accept a file without its hash, such as one copied from a data directory",
    )
    restored.add_argument(
        "--to-revision",
        type=_natural,
        default=0,
        metavar="N",
        help="restore the keys as they were at a revision that the snapshot or the archive holds",
    )
    restored.add_argument(
        "--initial-memory-map-size",
        type=_natural,
        metavar="BYTES",
        help="of etcd's database: without effect",
    )
    _add_member(restored)
    restored.set_defaults(run=_restore, verb="snapshot restore", wrong=BAD_ARGUMENTS)

    migrated = parser.verb("migrate", text="make a member's data directory of etcd's data")
    source = migrated.add_mutually_exclusive_group()
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

    hashed = parser.verb("hashkv", text="print the hash of the keys of a snapshot")
    hashed.words("FILE", "the snapshot")
    hashed.add_argument("--rev", type=int, default=0, help="revision (default: the newest)")
    hashed.set_defaults(run=_hash_kv, verb="hashkv", wrong=FAILED)

    defragmented = parser.verb("defrag", text="defragment a stopped member's data")
    defragmented.add_argument("--data-dir", type=Path, help="of the member")
    defragmented.words()
    defragmented.set_defaults(run=_defragment)

    completed = parser.verb("completion", text="print a script for a shell")
    completed.set_defaults(run=_no_shell)
    for name, script in completion.SHELLS.items():
        shell = completed.verb(name, text=f"for {name}")
        shell.words()
        shell.set_defaults(run=partial(_complete, parser, script))

    version = parser.verb("version", text="print the version")
    version.words()
    version.set_defaults(run=_version)

    parser.help_verb()
    return parser


def _add_member(restored: argparse.ArgumentParser) -> None:
    """Add what the new member is to be."""
    restored.add_argument("--data-dir", help="directory to make (default: NAME.rusd)")
    restored.add_argument("--wal-dir", help="directory of the log, if apart from the data")
    restored.add_argument("--name", default="default", help="of this member")
    restored.add_argument(
        "--initial-cluster",
        default="default=http://localhost:2380",
        help="name=URL of every member, joined by commas",
    )
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


def _file(arguments: argparse.Namespace) -> Path:
    """Return the only file that is named. Raises _BadArguments."""
    if len(arguments.words) != 1:
        raise _BadArguments(f"{arguments.verb} requires exactly one argument", arguments.wrong)
    return Path(arguments.words[0])


def _add_form(
    parser: argparse.ArgumentParser,
    default: str = argparse.SUPPRESS,
    timeout: float | str = argparse.SUPPRESS,
) -> None:
    """Let the flags of all verbs stand at any place, before and after the verb, as etcdutl does.

    Only the outermost parser may have a default: those inside would replace what was given before.
    """
    forms = ", ".join(printing.FORMS)
    parser.add_argument("-w", "--write-out", metavar="FORM", default=default, help=forms)
    parser.add_argument(
        "--timeout",
        type=duration,
        default=timeout,
        help="wait for a member that runs on the directory, 0: for ever (default: 10s)",
    )


def _form(arguments: argparse.Namespace) -> Callable[[Sequence[Column]], str]:
    """Return the form of output. Raises _BadArguments."""
    name = arguments.write_out
    if name == "protobuf":
        raise _BadArguments("protobuf not supported as output format", BAD_FORM)
    if name not in printing.FORMS:
        raise _BadArguments("unsupported output format", BAD_FORM)
    return printing.FORMS[name]


def _hexadecimal(text: str) -> int:
    return int(text, 16)


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _status(arguments: argparse.Namespace) -> int:
    data = mapped(_file(arguments))
    form = _form(arguments)
    database = open_snapshot(data, skip_hash_check=True)
    with _bar(database, 2):
        found = status(database)
    size = printing.human_size(found.total_size)
    columns = [
        Column("hash", "Hash", "hash", found.hash, f"{found.hash:x}"),
        Column("revision", "Revision", "revision", found.revision, str(found.revision)),
        Column("total keys", "Keys", "totalKey", found.total_key, str(found.total_key)),
        Column("total size", "Size", "totalSize", found.total_size, size),
        Column("version", "Version", "version", found.version, found.version),
    ]
    print(form(columns))
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    if arguments.archive is not None:
        return _restore_archive(arguments)
    file = _file(arguments)
    config = _new_member(arguments)
    data = mapped(file)
    refuse_existing(config)
    database = open_snapshot(data, skip_hash_check=arguments.skip_hash_check)
    with _bar(database, 1 + arguments.skip_hash_check):
        if arguments.skip_hash_check:
            _check(database)
        restored = restore_member(
            config, database, until=arguments.to_revision, bump=arguments.bump_revision
        )
    print(f"restored {file} to {config.data_path}: {_held(restored)}")
    return 0


def _restore_archive(arguments: argparse.Namespace) -> int:
    directory, cluster, until = arguments.archive, arguments.cluster_id, arguments.to_revision
    first = _file(arguments).name if arguments.words else None
    config = _new_member(arguments)
    refuse_existing(config)
    found = sources(directory, until, cluster, first=first)

    def doubt(reached: int) -> list[str]:
        other = older_and_further(directory, found[0], reached, cluster)
        if other is None or first is not None:
            return []
        return [
            f"{other} is of an earlier time and a later revision: if the cluster was not restored "
            "between them, a clock was set back; begin with it by 'rusdutl snapshot restore "
            f"{other} --from-archive={directory}'"
        ]

    errors = []
    for source in found:
        try:
            restored = _restore_source(arguments, config, source)
        except SnapshotError as error:
            errors.append(f"{source.backup.name}: {error}")
        else:
            print(f"restored {source.backup} to {config.data_path}: {_held(restored)}")
            for text in () if until else (*errors, *doubt(restored.revision)):
                print(f"Warning: {text}", file=sys.stderr)
            return 0
    raise SnapshotError("; ".join(errors + doubt(0)))


def _restore_source(arguments: argparse.Namespace, config: Config, source: Source) -> Restored:
    """Restore a backup and what was archived behind it. Raises SnapshotError."""
    data = mapped(source.backup)
    database = open_snapshot(data)
    with _bar(database, 1):
        return restore_member(
            config,
            database,
            until=arguments.to_revision,
            proposals=source.proposals(applied(database)),
            bump=arguments.bump_revision,
        )


def _migrate(arguments: argparse.Namespace) -> int:
    if arguments.directory is None and arguments.endpoints is None:
        raise _BadArguments("one of --from and --from-endpoint is required", FAILED)
    config = _new_member(arguments)
    refuse_existing(config)
    if arguments.directory is None:
        return _migrate_running(arguments, config)
    with (
        open_etcd_directory(arguments.directory, arguments.wal) as source,
        _bar(source.database, 1),
    ):
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
    from rusd.utl.download import Progress, Source, download

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
        progress = Progress()
        with bar(progress.part):
            endpoint = download(source, file, progress)
        data = mapped(file)
        database = open_snapshot(data)
        with _bar(database, 1):
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
        "initial-cluster": arguments.initial_cluster,
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
    form = _form(arguments)
    data = mapped(_file(arguments))
    database = open_snapshot(data, skip_hash_check=True)
    # (The check, the restore and the hash take about the same time.)
    with _bar(database, 3):
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
    print(form(columns))
    return 0


def _bar(database: Database, times: int) -> AbstractContextManager[None]:
    """Show progress of work that reads the file so many times."""
    return bar(lambda: database.pages_read / (times * database.meta.pages))


def _defragment(arguments: argparse.Namespace) -> int:
    if arguments.data_dir is None:
        raise _BadArguments("--data-dir is required", FAILED)
    try:
        with bar(None):
            defragment(arguments.data_dir, arguments.timeout)
    except StorageError as error:
        raise StorageError(f"Failed to defragment data[{arguments.data_dir}] ({error})") from error
    return 0


def _no_shell(arguments: argparse.Namespace) -> int:
    raise _BadArguments(f"a shell is required: {', '.join(completion.SHELLS)}", FAILED)


def _complete(
    parser: Parser,
    script: Callable[[completion.Words], str],
    arguments: argparse.Namespace,
) -> int:
    if arguments.words:
        raise _BadArguments(f"unknown argument: {arguments.words[0]}", FAILED)
    print(script(dict(_words(parser, ""))), end="")
    return 0


def _words(parser: Parser, verbs: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what may follow each verb."""
    yield verbs, [*parser.flags(), *parser.verbs]
    for verb, below in parser.verbs.items():
        yield from _words(below, f"{verbs} {verb}")


def _version(arguments: argparse.Namespace) -> int:
    print(f"rusdutl version: {rusd.__version__}\netcd API version: {rusd.ETCD_VERSION}")
    return 0
