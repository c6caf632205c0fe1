"""Operating-system processes of a cluster, and the guard that outlives their launcher."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import guard

#: Seconds a member may take to end after SIGTERM before it is killed.
STOP_TIMEOUT = 15.0

#: Lines of a log in an error.
TAIL_LINES = 30


class Guard:
    """The launcher's end of `guard`: members in `group` die with this process."""

    def __init__(self, temporary: Path | None) -> None:
        """`temporary` is removed when the guard is closed or the launcher dies."""
        self._temporary = temporary
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(temporary or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the guard process did not start")
        self.group = int(line)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            # A fork of this process also holds the pipe open.
            self._process.kill()
            self._process.wait()
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)


class Process:
    """A server process and its log, across restarts."""

    def __init__(self, name: str, directory: Path) -> None:
        """`directory`: where the log is kept, as `<name>.log`."""
        self.name = name
        #: Everything it wrote to its standard output and error, over all its starts.
        self.log = directory / f"{name}.log"
        #: True between `pause` and `resume`.
        self.paused = False
        #: The launcher requested the end: an exit is not a failure.
        self._dismissed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id of the current run, or of the last."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has started and not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the last run; None while it runs; negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def ended_by_itself(self) -> bool:
        """Whether the process has ended and its end was not expected (see `dismiss`)."""
        return self.exit_code is not None and not self._dismissed

    def start(self, command: Sequence[str], env: Mapping[str, str], group: int) -> None:
        """Start the process; it is not yet ready to serve when this returns."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                process_group=group,
            )
        self.paused = self._dismissed = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; no effect on a process that does not run."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has ended."""
        if self._process is not None:
            self._dismissed = True
            self.signal(signal.SIGKILL)
            self._process.wait()
        self.paused = False

    def terminate(self) -> None:
        """Send SIGTERM without waiting; a paused process is resumed to handle it."""
        self._dismissed = True
        self.signal(signal.SIGTERM)
        self.resume()

    def dismiss(self) -> None:
        """Accept from now on that the process ends by itself."""
        self._dismissed = True

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Return the exit code; kills the process and raises TimeoutError after `timeout`."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.name} did not stop within {timeout:g} s\n{self.log_tail()}"
            raise TimeoutError(message) from None

    def pause(self) -> None:
        """Send SIGSTOP, and wait until the process has stopped."""
        if self.running:
            self.signal(signal.SIGSTOP)
            # The kernel stops one thread after another. NOWAIT leaves an exit for Popen to collect.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.paused = self.running

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.paused = False

    def log_of_this_run(self) -> str:
        """Return the log since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the end of its log with a heading, for error messages."""
        tail = self.log_of_this_run().splitlines()[-lines:]
        state = "running" if self.running else f"exit code {self.exit_code}"
        return "\n".join([f"--- {self.name} ({state}), end of {self.log}:", *tail])


class Member(Process):
    """A member: its process, addresses and data."""

    def __init__(
        self,
        name: str,
        directory: Path,
        ports: tuple[int, int, int],
        host: str,
        client_scheme: str = "http",
        peer_scheme: str = "http",
    ) -> None:
        """`ports`: client, peer, metrics. Files are kept in `directory`: `<name>` and its log."""
        super().__init__(name, directory)
        client, peer, metrics = ports
        #: "host:port" that clients connect to.
        self.endpoint = f"{host}:{client}"
        self.client_url = f"{client_scheme}://{host}:{client}"
        self.peer_url = f"{peer_scheme}://{host}:{peer}"
        self.metrics_url = f"http://{host}:{metrics}"
        self.data_dir = directory / name
