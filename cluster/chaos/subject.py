"""The cluster under test: members as processes, each with its links and its disk.

Faults and clients use this interface only, so that rusd and etcd are treated alike, as processes
and as `containers`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .. import ports
from ..local import ClusterError, LocalCluster, rusd_command
from ..process import Member
from . import disks, namespaces
from .disks import Disk
from .member_replacement import replace
from .namespaces import NamespaceNetwork
from .network import Network, NoNetwork
from .proxy import between

#: The same for every subject: etcd's defaults, given explicitly.
TIMES = ("--heartbeat-interval=100", "--election-timeout=1000")

#: Seconds until a member that lost its data is refused, and its log messages then: its id is known
#: to the others, or belongs to a member that was replaced before. etcd ends with the third if a
#: heartbeat for the member that replaced it (same address, another id) is faster than the refusal.
REFUSAL = 30.0
REFUSED = (
    "has already been bootstrapped",
    "has been permanently removed from the cluster",
    "Was the raft log corrupted, truncated, or lost?",
)

NETWORKS = ("proxy", "namespaces", "none")

#: What a subject may be able to do (`Subject.able`), as text for a report where it is not.
ABILITIES = {
    "cut": "cuts of links",
    "delay": "delay of messages",
    "loss": "loss of messages",
    "disks": "full and slow disks (they need root)",
    "clock": "jumps of clocks (the simulation has them)",
    "disconnect": "interfaces taken away",
    "memory": "memory used up",
    "images": "upgrades (no other image given)",
    "engine": "restarts of the engine (others use it)",
}
_OF_CONTAINERS = frozenset(("disconnect", "memory", "images", "engine"))


def command_of(subject: str) -> list[str]:
    """Return the command of a subject by name: "rusd", "etcd" or a path."""
    if subject == "rusd":
        return rusd_command()
    beside = Path(sys.executable).parent / subject
    found = str(beside) if beside.exists() else shutil.which(subject)
    if found is None:
        raise FileNotFoundError(f"{subject} was not found")
    return [found]


class Subject(LocalCluster):
    """A LocalCluster whose members' links and disks can be broken."""

    def __init__(
        self,
        subject: str | None = "rusd",
        size: int = 3,
        *,
        network: str = "proxy",
        with_disks: bool = True,
        flags: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        """`subject`: as for `command_of`; None: the members have no command of this machine.

        `network`: one of NETWORKS.

        `with_disks`: give members disks of their own, where that is possible.
        """
        super().__init__(
            size,
            binary=[] if subject is None else command_of(subject),
            flags=[*TIMES, *flags],
            start_timeout=60.0,
        )
        #: How the links are broken.
        self.kind = network
        self._with_disks = with_disks
        self._seed = seed
        self.network: Network = NoNetwork()
        self.disks: dict[int, Disk] = {}
        self._disk_directory: Path | None = None
        #: (member, exit code, end of its log) of members that ended by themselves.
        self.ended: list[tuple[str, int, str]] = []
        self._lock = threading.Lock()

    @property
    def able(self) -> frozenset[str]:
        """Return which of the ABILITIES it has, once it has started."""
        return self.network.able | ({"disks"} if self.disks else frozenset())

    def unavailable(self) -> list[str]:
        """Return the faults that cannot be injected here, as text."""
        return [text for name, text in ABILITIES.items() if name in self._missing()]

    def _missing(self) -> frozenset[str]:
        return frozenset(ABILITIES) - _OF_CONTAINERS - self.able

    # --- faults on processes --------------------------------------------------------------------

    def names(self, members: Sequence[int]) -> tuple[str, ...]:
        """Return the names of members by index."""
        return tuple(self.members[index].name for index in members)

    def kill(self, index: int) -> None:
        with self._lock:
            self._note_end(index)
            super().kill(index)

    def stop_in_order(self, index: int) -> None:
        """Send SIGTERM, and wait until the member has ended."""
        with self._lock:
            self._note_end(index)
        with contextlib.suppress(TimeoutError):
            self.stop(index)

    def start_again(self, index: int) -> None:
        """Start a member that does not run."""
        with self._lock:
            self._note_end(index)
            if not self.members[index].running:
                self.members[index].dismiss()
                self._start(index)

    def wipe(self, index: int) -> None:
        """Remove the data of a member that does not run."""
        shutil.rmtree(self._data_directory(index))

    def refuses(self, index: int) -> None:
        """Start a member without its data, with the flags of its first start, which must fail.

        Raises ClusterError unless the member ends and logs the reason.
        """
        member = self.members[index]
        self.start_again(index)
        member.dismiss()
        try:
            member.wait(REFUSAL)
        except TimeoutError as error:
            raise ClusterError(f"{member.name} lost its data and was started: {error}") from None
        log = member.log_of_this_run()
        if not any(text in log for text in REFUSED):
            raise ClusterError(f"{member.name} does not say why it ended\n{member.log_tail()}")
        shutil.rmtree(self._data_directory(index), ignore_errors=True)

    def replace(self, index: int) -> None:
        """Remove a member without data from the cluster, add it anew, and start it."""
        replace(self.endpoints, index, self.members[index].peer_url)
        flags = self._member_flags.get(index, ())
        self._add_flag(index, "--initial-cluster-state=existing")
        self.start_again(index)
        self._member_flags[index] = flags
        self.wait_settled()

    def _data_directory(self, index: int) -> Path:
        disk = self.disks.get(index)
        member = self.members[index]
        return member.data_dir if disk is None else disk.path / member.data_dir.name

    # --- faults on containers -------------------------------------------------------------------

    def disconnect(self, index: int) -> None:
        """Take a member's network interface away."""
        raise NotImplementedError(ABILITIES["disconnect"])

    def reconnect(self, index: int) -> None:
        """Give it an interface with the same address."""
        raise NotImplementedError(ABILITIES["disconnect"])

    def exhaust_memory(self, index: int) -> None:
        """Use up the memory of a member's limit: the kernel kills it before this returns."""
        raise NotImplementedError(ABILITIES["memory"])

    def move_clock(self, index: int, seconds: float) -> None:
        """Set the offset of a member's wall clock."""
        raise NotImplementedError(ABILITIES["clock"])

    def change_image(self, index: int) -> str:
        """Stop a member and start it with the other image; return the image's name."""
        raise NotImplementedError(ABILITIES["images"])

    def restart_engine(self, number: signal.Signals) -> None:
        """End the engine with a signal, and start it: no member runs when this returns."""
        raise NotImplementedError(ABILITIES["engine"])

    # --- observing ------------------------------------------------------------------------------

    def note_ends(self) -> None:
        """Record members that ended by themselves since the last call."""
        with self._lock:
            for index in range(len(self.members)):
                self._note_end(index)

    def _note_end(self, index: int) -> None:
        member = self.members[index]
        if member.ended_by_itself:
            self.ended.append((member.name, member.exit_code or 0, member.log_tail()))
            member.dismiss()

    def current_leader(self) -> int | None:
        """Return the index of the leader; None if there is none."""
        return self._find_leader()

    def heal(self) -> None:
        """End every fault: links clear, disks restored, all members running."""
        self.network.heal()
        for disk in self.disks.values():
            disk.fast()
            disk.free()
        for index, member in enumerate(self.members):
            member.resume()
            self.start_again(index)

    def wait_settled(self, timeout: float = 60.0) -> None:
        """Wait until all members follow one leader and respond.

        Restarts members that end meanwhile (a member may find only now that its disk was full).
        """
        deadline = time.monotonic() + timeout
        while True:
            for index in range(len(self.members)):
                self.start_again(index)
            with contextlib.suppress(Exception):
                self.wait_healthy(5.0)
                return
            if time.monotonic() > deadline:
                self.wait_healthy(1.0)

    # --- building ---------------------------------------------------------------------------------

    def close(self) -> None:
        try:
            self.network.heal()
            for disk in self.disks.values():
                disk.fast()
            self.kill_all()
        finally:
            self.network.close()
            for disk in self.disks.values():
                disk.close()
            self.disks = {}
            if self._disk_directory is not None:
                shutil.rmtree(self._disk_directory, ignore_errors=True)
            super().close()

    def _build(self) -> None:
        super()._build()
        if self.kind == "namespaces":
            network = NamespaceNetwork(self.size)
            self.network = network
            self.members = [
                _moved(member, network.address(index)) for index, member in enumerate(self.members)
            ]
        elif self.kind == "proxy":
            private = self._claim.any(self.size)
            for index, port in enumerate(private):
                self._add_flag(index, f"--listen-peer-urls=http://{ports.HOST}:{port}")
            self.network = between(self.members, private, self._pids, self._seed)
        if self._with_disks:
            self._disk_directory = disks.new_directory()
            if disks.available(self._disk_directory):
                for index in range(self.size):
                    self.disks[index] = Disk(self._disk_directory / f"disk-{index}")
                    self._add_flag(index, f"--data-dir={self._data_directory(index)}")

    def command(self, index: int) -> list[str]:
        command = super().command(index)
        if isinstance(self.network, NamespaceNetwork):
            return [*self.network.enter(index), *command]
        return command


def network_of(kind: str) -> str:
    """Resolve "auto" to what is possible here. Raises ValueError if `kind` is not."""
    if kind not in ("auto", "namespaces"):
        return kind
    obstacle = namespaces.obstacle()
    if obstacle is None:
        return "namespaces"
    if kind == "auto":
        return "proxy"
    raise ValueError(f"--network namespaces is not possible here: {obstacle}")


def _moved(member: Member, host: str) -> Member:
    """Return the same member, listening on another host."""
    numbers = (_port(member.client_url), _port(member.peer_url), _port(member.metrics_url))
    return Member(member.name, member.data_dir.parent, numbers, host)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
