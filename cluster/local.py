"""A cluster of member processes on this machine; `python -m cluster.local` runs one by hand.

    with LocalCluster(3) as cluster:
        ...                                  # cluster.endpoints: ["127.0.0.1:…", …]
        cluster.kill(cluster.leader())       # SIGKILL, as a crash
        cluster.wait_leader()

Members are named rusd-1, rusd-2, … and addressed by index from 0. Nothing here knows which server
it runs: `binary` may be any command that takes etcd's flags.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from . import ports, wire
from .process import STOP_TIMEOUT, Guard, Member
from .tls import PeerTls, Tls

T = TypeVar("T")

#: Seconds between two polls while waiting.
POLL = 0.05

#: Retries of a start, with other ports, after a member found its address in use.
START_TRIES = 3

ADDRESS_IN_USE = "address already in use"


class ClusterError(RuntimeError):
    """A condition was not reached in time; the message ends with the members' logs."""


def rusd_command() -> list[str]:
    """Return the `rusd` beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / "rusd"
    found = str(beside) if beside.exists() else shutil.which("rusd")
    if found is None:
        raise FileNotFoundError("rusd is not installed: pip install -e .")
    return [found]


class LocalCluster:
    """Members as processes on loopback ports, each with its data directory and log.

    Used as a context manager it starts on entry and ends everything on exit; `start` and `close`
    do the same by hand. Without `directory` all files are temporary.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        binary: Sequence[str] | None = None,
        flags: Sequence[str] = (),
        member_flags: Mapping[int, Sequence[str]] | None = None,
        env: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        peer_tls: PeerTls | bool = False,
        directory: Path | str | None = None,
        client_ports: Sequence[int] | None = None,
        start_timeout: float = 30.0,
        user: tuple[str, str] | None = None,
    ) -> None:
        """Describe the cluster; nothing is started or claimed yet.

        size: number of members.
        binary: command that takes etcd's flags; default: the installed `rusd`. Empty: flags alone,
            for the entry point of an image.
        flags: further flags of every member; member_flags: of the member at an index. They come
            last and win over the launcher's own.
        env: added to the environment. ETCD_* variables of this process are not passed on.
        tls: what members serve their client URLs with; None: plain HTTP.
        peer_tls: what members connect to each other with; True: https peer URLs, whose flags
            are given in `flags` or `member_flags`; False: plain HTTP.
        directory: keeps data, logs and port numbers there, to be started again by a later
            LocalCluster on the same directory.
        client_ports: ports for clients; each member's peers use the next number, metrics the
            one after.
        start_timeout: seconds until all members must be healthy, for `start`.
        user: name and password of a user with the role root, for the launcher's own questions once
            authentication is enabled.
        """
        if size < 1:
            raise ValueError("a cluster has at least one member")
        if client_ports is not None and len(client_ports) != size:
            raise ValueError(f"{size} members need {size} client ports")
        self.size = size
        self.members: list[Member] = []
        self._binary = list(binary) if binary is not None else None
        self._flags = list(flags)
        self._binaries: dict[int, list[str]] = {}
        self._member_flags = dict(member_flags or {})
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        self._env = inherited | dict(env or {})
        self._tls: Tls | None = None
        self._peer_tls = peer_tls
        #: The last token that a member gave is one for all members, until they restart.
        self._access = wire.PLAIN
        if tls is not None:
            self._serve_tls(tls)
        self.user = user
        self._keep = Path(directory) if directory is not None else None
        self._client_ports = client_ports
        self._start_timeout = start_timeout
        self._token = f"cluster-{uuid.uuid4().hex[:8]}" if directory is None else "kept-cluster"
        #: Members added later, and members removed from the cluster.
        self._joined: set[int] = set()
        self._left: set[int] = set()
        self._claim = ports.Claim()
        self._guard: Guard | None = None

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start all members and wait until they are healthy; ends everything if that fails."""
        if self._guard is not None:
            raise RuntimeError("the cluster is started already")
        for tries_left in reversed(range(START_TRIES)):
            try:
                self._build()
                self.start_all()
                self.wait_healthy(self._start_timeout)
                return
            except BaseException:
                again = tries_left and self._client_ports is None and self._lost_a_port()
                self.close()
                if not again:
                    raise

    def close(self) -> None:
        """End all members and remove what is temporary. With `directory` they stop in order."""
        try:
            if self._keep is not None:
                self.stop_all()
            else:
                self.kill_all()
        finally:
            if self._guard is not None:
                self._guard.close()
                self._guard = None
            self._claim.release()

    # --- description ---------------------------------------------------------------------------

    @property
    def endpoints(self) -> list[str]:
        """Client address ("host:port") of every member, in the order of `members`."""
        return [member.endpoint for member in self.members]

    # --- one member ---------------------------------------------------------------------------

    def kill(self, index: int) -> None:
        """Send SIGKILL: the member ends at once, as in a crash."""
        self.members[index].kill()

    def stop(self, index: int, timeout: float = STOP_TIMEOUT) -> int:
        """Send SIGTERM and wait; returns the exit code (negative: the signal that ended it)."""
        self.members[index].terminate()
        return self.members[index].wait(timeout)

    def restart(self, index: int) -> None:
        """Start a member again on its data; stops it first if it runs. Does not wait for health."""
        if self.members[index].running:
            self.stop(index)
        self._start(index)

    def pause(self, index: int) -> None:
        """Send SIGSTOP: the member keeps its connections and sends nothing, until `resume`."""
        self.members[index].pause()

    def resume(self, index: int) -> None:
        self.members[index].resume()

    def set_flags(self, index: int, flags: Sequence[str]) -> None:
        """Set a member's additional flags, from its next start on."""
        self._member_flags[index] = list(flags)

    def set_binary(self, index: int, binary: Sequence[str]) -> None:
        """Set a member's command, from its next start on, as an upgrade does."""
        self._binaries[index] = list(binary)

    # --- membership ---------------------------------------------------------------------------

    def new_member(self) -> int:
        """Add a member that does not run yet; return its index.

        Add its `peer_url` to the cluster first (MemberAdd), then `start_all` lets it join.
        """
        directory = self.members[0].data_dir.parent
        index = len(self.members)
        client, peer, metrics = self._claim.any(3)
        member = self._member(index, directory, (client, peer, metrics))
        self.members.append(member)
        self._joined.add(index)
        self.size += 1
        return index

    def dismiss(self, index: int) -> None:
        """Record that a member was removed from the cluster (MemberRemove).

        It may end by itself, is not started again, and is not in the `--initial-cluster` of new
        members.
        """
        self.members[index].dismiss()
        self._left.add(index)
        self.size -= 1

    # --- all members --------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start every member that does not run. Does not wait for health."""
        for index, member in enumerate(self.members):
            if not member.running and index not in self._left:
                self._start(index)

    def kill_all(self) -> None:
        """Send SIGKILL to all members."""
        for member in self.members:
            member.kill()

    def stop_all(self) -> list[int | None]:
        """Send SIGTERM to all members; return their exit codes (None: never started)."""
        for member in self.members:
            member.terminate()
        return [member.wait() if member.running else member.exit_code for member in self.members]

    # --- waiting ------------------------------------------------------------------------------

    def leader(self, timeout: float = 15.0) -> int:
        """Return the index of the leader that a majority follows; waits while there is none."""
        return self._wait(self._find_leader, timeout, "no leader")

    def wait_leader(self, timeout: float = 15.0) -> int:
        """Wait for a leader, as `leader` does."""
        return self.leader(timeout)

    def wait_healthy(self, timeout: float = 30.0) -> None:
        """Wait until every running member follows one leader and answers a linearizable read.

        Members that were killed, stopped or paused are left out; one that ended by itself is an
        error at once.
        """
        self._wait(self._all_healthy, timeout, "not healthy")

    def _find_leader(self) -> int | None:
        statuses = self._statuses()
        leaders = {
            status.term: index
            for index, status in statuses.items()
            if status.leader_id == status.member_id != 0
        }
        term = max((status.term for status in statuses.values()), default=0)
        if term not in leaders:
            return None
        leader = leaders[term]
        named = statuses[leader].member_id
        followers = [s for s in statuses.values() if s.leader_id == named and s.term == term]
        return leader if len(followers) * 2 > self.size else None

    def _all_healthy(self) -> bool | None:
        awake = [member for member in self.members if member.running and not member.paused]
        leader = self._find_leader()
        if not awake or leader is None:
            return None
        statuses = self._statuses()
        named = {(status.leader_id, status.term) for status in statuses.values()}
        if len(statuses) < len(awake) or len(named) != 1:
            return None
        try:
            for member in awake:
                self._ask(wire.check_health, member)
        except wire.NoAnswer:
            return None
        return True

    def _statuses(self) -> dict[int, wire.Status]:
        """Returns the status of each member that responds."""
        found = {}
        for index, member in enumerate(self.members):
            if member.running and not member.paused:
                try:
                    found[index] = self._ask(wire.status, member)
                except wire.NoAnswer:
                    continue
        return found

    def _ask(self, question: Callable[..., T], member: Member) -> T:
        """Call a member, with a token of `user` if it requires one. Raises NoAnswer."""
        try:
            return question(member.endpoint, access=self._access)
        except wire.NotIdentified:
            if self.user is None:
                raise
            anonymous = self._access._replace(token="")
            token = wire.log_in(member.endpoint, *self.user, access=anonymous)
            self._access = anonymous._replace(token=token)
            return question(member.endpoint, access=self._access)

    def _wait(self, look: Callable[[], T | None], timeout: float, failure: str) -> T:
        deadline = time.monotonic() + timeout
        while True:
            found = look()
            failed = [member for member in self.members if member.ended_by_itself]
            if failed:
                tails = "\n".join(member.log_tail() for member in failed)
                raise ClusterError(f"{', '.join(m.name for m in failed)} ended\n{tails}")
            if found is not None:
                return found
            if time.monotonic() > deadline:
                tails = "\n".join(member.log_tail() for member in self.members)
                raise ClusterError(f"{failure} after {timeout:g} s\n{tails}")
            time.sleep(POLL)

    def _lost_a_port(self) -> bool:
        return any(
            member.ended_by_itself and ADDRESS_IN_USE in member.log_of_this_run().lower()
            for member in self.members
        )

    # --- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        """Create the directory, ports and members; processes come later."""
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            directory = self._keep.resolve()
        else:
            directory = Path(tempfile.mkdtemp(prefix="rusd-cluster-"))
        self._guard = Guard(directory if self._keep is None else None)
        self._prepare(directory)
        numbers = self._ports(directory)
        self.members = [
            self._member(index, directory, three)
            for index, three in enumerate(zip(*[iter(numbers)] * 3, strict=True))
        ]

    def _prepare(self, directory: Path) -> None:
        """Hook for files that members need; `directory` lives as long as they do."""

    def _serve_tls(self, tls: Tls) -> None:
        self._tls = tls
        self._access = wire.Access(tls.credentials())

    def _add_flag(self, index: int, flag: str) -> None:
        self._member_flags[index] = [*self._member_flags.get(index, ()), flag]

    def _pids(self) -> dict[int, int]:
        """Return process id -> index of the members that run."""
        return {member.pid: index for index, member in enumerate(self.members) if member.running}

    def _member(self, index: int, directory: Path, three: tuple[int, int, int]) -> Member:
        return Member(
            f"rusd-{index + 1}",
            directory,
            three,
            ports.HOST,
            client_scheme="http" if self._tls is None else "https",
            peer_scheme="https" if self._peer_tls else "http",
        )

    def _ports(self, directory: Path) -> list[int]:
        """Return client, peer and metrics port of each member; a kept directory keeps its
        numbers.
        """
        remembered = directory / "ports.json"
        if self._client_ports is not None:
            return self._claim.these([p + n for p in self._client_ports for n in range(3)])
        if remembered.exists():
            numbers: list[int] = json.loads(remembered.read_text())
            if len(numbers) != 3 * self.size:
                raise ValueError(f"{directory} holds {len(numbers) // 3} members, not {self.size}")
            return self._claim.these(numbers)
        numbers = self._claim.any(3 * self.size)
        if self._keep is not None:
            remembered.write_text(json.dumps(numbers))
        return numbers

    def _start(self, index: int) -> None:
        if self._guard is None:
            raise RuntimeError("the cluster is closed")
        member = self.members[index]
        member.start(self.command(index), self._env, self._guard.group)

    def command(self, index: int) -> list[str]:
        """Return the command line of one member."""
        member = self.members[index]
        everyone = ",".join(
            f"{each.name}={each.peer_url}"
            for number, each in enumerate(self.members)
            if number not in self._left
        )
        binary = self._binaries.get(index, self._binary)
        return [
            *(rusd_command() if binary is None else binary),
            f"--name={member.name}",
            f"--data-dir={member.data_dir}",
            f"--listen-client-urls={member.client_url}",
            f"--advertise-client-urls={member.client_url}",
            f"--listen-peer-urls={member.peer_url}",
            f"--initial-advertise-peer-urls={member.peer_url}",
            f"--listen-metrics-urls={member.metrics_url}",
            f"--initial-cluster={everyone}",
            f"--initial-cluster-state={'existing' if index in self._joined else 'new'}",
            f"--initial-cluster-token={self._token}",
            *(self._tls.flags() if self._tls is not None else ()),
            *(self._peer_tls.flags() if isinstance(self._peer_tls, PeerTls) else ()),
            *self._flags,
            *self._member_flags.get(index, ()),
        ]


if __name__ == "__main__":
    from .command import main

    sys.exit(main())
