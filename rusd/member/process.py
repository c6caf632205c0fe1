"""One member in one process: start, run until a signal or a failure, ordered shutdown.

serve(config) ── run(make) ── uvloop ── Runnable.start, wait_failed, stop
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, Protocol

from rusd.base import logs, systemd
from rusd.base.allocator import keep_freed
from rusd.base.garbage import bound_collections
from rusd.config import Config
from rusd.maintenance.disk_space import DiskSpace, full_disk
from rusd.member import signals
from rusd.member.errors import Removed

log = logs.get_logger(__name__)

#: Seconds a member that failed may take to let go of what it holds.
ABORT_TIMEOUT = 5.0
#: Seconds between two looks at a full disk.
SPACE_POLL = 2.0


class Runnable(Protocol):
    """The part of a member that the process uses."""

    async def start(self) -> None:
        """Returns once the member runs; it serves as soon as it can. Raises if it cannot run."""

    async def stop(self) -> None:
        """Ends the member in order; also after a start that failed or was cancelled."""

    async def wait_failed(self) -> None:
        """Raises when the member must end; never returns."""


def serve(config: Config) -> int:
    """Run the member that `config` describes; return the exit code."""
    space = DiskSpace((config.member_path, config.wal_path))
    code = run(lambda: _member(config), space)
    if code is None:
        _begin_anew()
    return code


def run(make: Callable[[], Runnable], space: DiskSpace | None = None) -> int | None:
    """Run a member in a uvloop until a signal or a failure; return the exit code.

    None: it failed for lack of `space`, which is available again; the caller starts anew.
    """
    _open_many_files()
    import uvloop  # here, so that --help and --version do not wait for it

    asked = asyncio.Event()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stop_signals = signals.StopSignals(
            runner.get_loop(), lambda number: _on_signal(asked, number)
        )
        try:
            code = runner.run(_serve(make, space, asked))
        finally:
            stop_signals.end()
    if code is None:
        signals.end_at_once()
        if stop_signals.received:
            return 0
    return code


def _on_signal(asked: asyncio.Event, number: signal.Signals) -> None:
    fields = {"fields": {"signal": number.name}}
    if asked.is_set():
        log.info("received another signal; already shutting down", extra=fields)
        return
    log.info("received signal; shutting down", extra=fields)
    asked.set()


def _open_many_files() -> None:
    """Raise the soft limit of open files to the hard limit, as Go's runtime does for etcd."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _member(config: Config) -> Runnable:
    from rusd.member.member import Member  # here, so that --help and bad flags need no store

    member: Runnable = Member(config, on_ready=_notify_systemd)
    return member


def _notify_systemd() -> None:
    """Send READY=1 for a unit of Type=notify; a failure is not fatal."""
    try:
        if systemd.notify("READY=1"):
            log.info("successfully notified init daemon")
    except OSError as error:
        log.error("failed to notify systemd for readiness", extra={"fields": {"error": str(error)}})


async def _serve(
    make: Callable[[], Runnable], space: DiskSpace | None, stopping: asyncio.Event
) -> int | None:
    asked = asyncio.create_task(stopping.wait())
    member: Runnable | None = None
    doing = "start"
    try:
        member = make()
        # Before there is data. (The imports leave some 2,000 objects of cyclic garbage: not worth a
        # collection.)
        bound_collections()
        keep_freed()
        await asyncio.sleep(0)  # a signal that came meanwhile
        if not stopping.is_set() and await _first_of(member.start(), asked):
            doing = "go on"
            await _first_of(member.wait_failed(), asked)
    except Removed as removed:
        # No failure, and a supervisor should not try again: etcd ends with 0 as well.
        log.warning(str(removed))
    except Exception as error:  # noqa: BLE001
        # Logged; decides the exit code.
        _log_fatal(f"cannot {doing}", error)
        if member is not None:
            await _abort(member)
        if space is None or not full_disk(error):
            return 1
        log.error("waiting until there is space on the disk")
        return None if await _first_of(_wait_for_space(space), asked) else 0
    finally:
        asked.cancel()
    if member is None:
        return 0
    try:
        await member.stop()
    except Exception as error:  # noqa: BLE001
        # Logged; decides the exit code.
        _log_fatal("cannot stop in order", error)
        return 1
    return 0


async def _first_of(work: Coroutine[Any, Any, None], asked: asyncio.Task[bool]) -> bool:
    """Run `work` to its end (True), or until the member is `asked` to stop (False).

    What a cancelled `work` ends with is no failure of the member: it is only logged.
    """
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("interrupted by a signal", extra={"fields": {"error": str(error)}})
    return False


async def _wait_for_space(space: DiskSpace) -> None:
    """Wait for free space, for a minimum time, since another resource may be exhausted."""
    await asyncio.sleep(SPACE_POLL)
    while not space.enough():  # noqa: ASYNC110 (free space can only be polled)
        await asyncio.sleep(SPACE_POLL)


async def _abort(member: Runnable) -> None:
    """Release sockets and locks as far as possible; the failure was logged before."""
    try:
        await asyncio.wait_for(member.stop(), ABORT_TIMEOUT)
    except Exception as error:  # noqa: BLE001
        # Logged; the exit code is decided already.
        log.debug("stop after failure", extra={"fields": {"error": repr(error)}})


def _begin_anew() -> NoReturn:
    """Replace the process image by the same command: same process id, no state of the failed
    member.
    """
    log.warning("there is space on the disk again: starting anew")
    logs.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _log_fatal(message: str, error: Exception) -> None:
    """Log the failure: one line for a refusal of rusd or the system, else with its traceback."""
    explained = isinstance(error, OSError) or type(error).__module__.startswith("rusd.")
    log.critical(
        message, extra={"fields": {"error": str(error)}}, exc_info=None if explained else error
    )
