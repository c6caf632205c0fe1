"""The `rusd` command: read the configuration, run one member until it is told to stop.

Exit codes: 0 after --help, --version or a stop by SIGTERM or SIGINT; 1 for a configuration that
cannot be used and for anything that ends a member by itself; 2 for an unreadable command line.
A full disk does not end the process: it waits for space and begins anew.
Errors before the log is set up are one line on standard error, later ones one line of the log.

The first signal stops the member in order (leadership is handed over); a second one ends the
process at once, which is safe at any moment.
"""

import asyncio
import contextlib
import gc
import os
import platform
import resource
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, Protocol

from rusd import ETCD_VERSION, __version__, logs
from rusd.config import Config, ConfigError, UsageError
from rusd.config_check import check_bootstrap
from rusd.config_help import help_text
from rusd.config_load import Loaded, load, parse_arguments
from rusd.errors import Removed
from rusd.upkeep.space import Space, full_disk

log = logs.get_logger(__name__)

#: Seconds a member that failed may take to let go of what it holds.
ABORT_TIMEOUT = 5.0
#: Seconds between two looks at a full disk.
SPACE_POLL = 2.0
#: Seconds after the end of main() at which a thread that hangs is left behind.
EXIT_TIMEOUT = 10.0


class Runnable(Protocol):
    """What the command needs of a member."""

    async def start(self) -> None:
        """Returns once the member serves; raises if it cannot."""

    async def stop(self) -> None:
        """Ends the member in order; also after a start that failed or was cancelled."""

    async def wait_failed(self) -> None:
        """Raises when the member must end; never returns."""


def main(argv: Sequence[str]) -> int:
    """Run the command with `argv` (without the program's name) and return its exit code."""
    try:
        arguments = parse_arguments(argv)
        if arguments.help:
            print(help_text(), end="")
            return 0
        if arguments.version and arguments.stray is None:
            print(version_text(), end="")
            return 0
        loaded = load(arguments, os.environ)
        config = loaded.config
        if not config.identity_path.exists():
            check_bootstrap(config)
        logs.configure(config.log_level, config.log_format, config.log_outputs)
    except ConfigError as error:
        print(f"rusd: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        print(f"rusd: cannot write the log: {error}", file=sys.stderr)
        return 1
    _log_start(loaded)
    space = Space((config.member_path, config.wal_path))
    code = run(lambda: _member(config), space)
    if code is None:
        _begin_anew()
    return code


def console() -> NoReturn:
    """Entry point of the `rusd` command."""
    code = main(sys.argv[1:])
    logs.flush()
    # A thread that hangs in a system call must not keep a member that has ended alive.
    watchdog = threading.Timer(EXIT_TIMEOUT, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)


def version_text() -> str:
    """etcd's four lines (its tools parse the first), and rusd's own version."""
    return (
        f"etcd Version: {ETCD_VERSION}\n"
        "Git SHA: Not provided\n"
        f"Python Version: {platform.python_version()}\n"
        f"Python OS/Arch: {platform.system().lower()}/{platform.machine()}\n"
        f"rusd Version: {__version__}\n"
    )


def run(make: Callable[[], Runnable], space: Space | None = None) -> int | None:
    """Build a member inside a uvloop and keep it until a signal or a failure: the exit code. None
    if it failed for want of `space`, of which there is enough now: it shall begin anew."""
    _open_many_files()
    import uvloop  # here, so that --help and --version do not wait for it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(make, space))


def _open_many_files() -> None:
    """As many as the system allows at all, as Go's runtime does for etcd."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _begin_anew() -> NoReturn:
    """The same command as a new process image: same process id, no trace of the failed member."""
    log.warning("there is space on the disk again: starting anew")
    logs.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _serve(make: Callable[[], Runnable], space: Space | None) -> int | None:
    stopping = _on_signals()
    asked = asyncio.create_task(stopping.wait())
    member: Runnable | None = None
    doing = "start"
    try:
        member = make()
        if await _first_of(member.start(), asked):
            # What exists now lives as long as the member: no collection need look at it again.
            gc.collect()
            gc.freeze()
            doing = "go on"
            await _first_of(member.wait_failed(), asked)
    except Removed as removed:
        # No failure, and a supervisor should not try again: etcd ends with 0 as well.
        log.warning(str(removed))
    except Exception as error:
        _log_fatal(f"cannot {doing}", error)
        if member is not None:
            await _abort(member)
        if space is None or not full_disk(error):
            return 1
        log.error("waiting until there is space on the disk")
        return None if await _first_of(_room(space), asked) else 0
    finally:
        asked.cancel()
    if member is None:
        return 0
    try:
        await member.stop()
    except Exception as error:
        _log_fatal("cannot stop in order", error)
        return 1
    return 0


async def _first_of(work: Coroutine[Any, Any, None], asked: asyncio.Task[bool]) -> bool:
    """Run `work` to its end (True), or until the member is `asked` to stop (False)."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return False


def _on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            log.warning("second signal: ending at once", extra={"fields": {"signal": number.name}})
            logs.flush()
            os._exit(128 + number)
        log.info("received signal; shutting down", extra={"fields": {"signal": number.name}})
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping


async def _room(space: Space) -> None:
    """Until there is enough; a while at least, for what is short may be something else."""
    await asyncio.sleep(SPACE_POLL)
    while not space.enough():
        await asyncio.sleep(SPACE_POLL)


async def _abort(member: Runnable) -> None:
    """Let go of sockets and locks as far as that works; the failure is already logged."""
    try:
        await asyncio.wait_for(member.stop(), ABORT_TIMEOUT)
    except Exception as error:
        log.debug("stop after failure", extra={"fields": {"error": repr(error)}})


def _member(config: Config) -> Runnable:
    # grpc's own lines on standard error are no JSON; what it reports is raised as well.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from rusd.member import Member  # here, so that --help and bad flags need no store

    member: Runnable = Member(config)
    return member


def _log_start(loaded: Loaded) -> None:
    config = loaded.config
    for note in loaded.notes:
        log.warning(note)
    log.info(
        "starting",
        extra={
            "fields": {
                "etcd-version": ETCD_VERSION,
                "rusd-version": __version__,
                "name": config.name,
                "data-dir": str(config.data_path),
                "listen-peer-urls": config.listen_peer_urls,
                "listen-client-urls": config.listen_client_urls,
                "advertise-client-urls": config.advertise_client_urls,
                "initial-advertise-peer-urls": config.initial_advertise_peer_urls,
                "initial-cluster": config.initial_cluster,
                "initial-cluster-state": config.initial_cluster_state,
            }
        },
    )
    if config.unsafe_no_fsync:
        log.warning("unsafe-no-fsync is set: a power cut loses acknowledged writes")


def _log_fatal(message: str, error: Exception) -> None:
    """One line. What rusd or the system refuses explains itself; anything else needs its trace."""
    explained = isinstance(error, OSError) or type(error).__module__.startswith("rusd.")
    log.critical(
        message, extra={"fields": {"error": str(error)}}, exc_info=None if explained else error
    )


if __name__ == "__main__":
    console()
