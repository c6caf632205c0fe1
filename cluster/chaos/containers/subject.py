"""The cluster under test: members as containers, each with its links, disk, memory and clock."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ...local import ClusterError
from ...process import Guard
from .. import disks, namespaces
from ..subject import ABILITIES, Subject
from . import clock, memory
from .clock import Clock
from .engine import Engine, OwnEngine, RunningEngine
from .member import DATA, PORTS, USER, ContainerMember
from .network import ContainerNetwork

#: Seconds until the kernel has ended a member for want of memory.
EXHAUSTION = 30.0


class ContainerSubject(Subject):
    """A cluster of containers with the faults of a `Subject`, and those of containers."""

    members: list[ContainerMember]  # type: ignore[assignment]

    def __init__(
        self,
        image: str,
        size: int = 3,
        *,
        other_image: str | None = None,
        engine: str = "running",
        clocks: bool = False,
        flags: Sequence[str] = (),
    ) -> None:
        """`other_image`: members move between the two; `engine`: one of ENGINES.

        `clocks`: load libfaketime into the members. Raises OSError or ValueError.
        """
        super().__init__(None, size, network="containers", flags=flags)
        obstacle = namespaces.obstacle()
        if obstacle is not None:
            raise ValueError(f"containers cannot be broken here: {obstacle}")
        self._library = clock.library() if clocks else None
        if clocks and self._library is None:
            raise ValueError("clocks cannot be moved here: libfaketime is missing")
        self._images = (image, *([other_image] if other_image else []))
        self._env = {}
        self._engine: Engine = OwnEngine(self._images) if engine == "own" else RunningEngine()
        self.clocks: dict[int, Clock] = {}

    # --- faults of containers -------------------------------------------------------------------

    @property
    def able(self) -> frozenset[str]:
        able = super().able | {"disconnect", "memory"}
        if self.clocks and clock.works(self.members[0].pid):
            able |= {"clock"}
        if len(self._images) > 1:
            able |= {"images"}
        if self._engine.own:
            able |= {"engine"}
        return able

    def _missing(self) -> frozenset[str]:
        return frozenset(ABILITIES) - self.able

    def disconnect(self, index: int) -> None:
        with self._lock:
            member = self.members[index]
            if not member.disconnected:
                self._links.disconnect(member.container)
                member.disconnected = True

    def reconnect(self, index: int) -> None:
        with self._lock:
            member = self.members[index]
            if member.disconnected:
                self._links.connect(member.container, index)
                member.disconnected = False

    def exhaust_memory(self, index: int) -> None:
        with self._lock:
            self._note_end(index)
            member = self.members[index]
            if not member.running:
                return
            member.dismiss()
            hog = memory.exhaust(member.pid)
            try:
                deadline = time.monotonic() + EXHAUSTION
                while member.running:
                    if time.monotonic() > deadline:
                        raise ClusterError(f"{member.name} runs on without memory")
                    time.sleep(0.05)
            finally:
                hog.kill()
                hog.wait()
            if member.exit_code != 128 + signal.SIGKILL:
                raise ClusterError(f"{member.name} ended otherwise\n{member.log_tail()}")

    def move_clock(self, index: int, seconds: float) -> None:
        self.clocks[index].move(seconds)

    def change_image(self, index: int) -> str:
        member = self.members[index]
        here = self._images.index(member.image)
        self.stop_in_order(index)
        member.image = self._images[1 - here]
        self.start_again(index)
        return member.image

    def restart_engine(self, number: signal.Signals) -> None:
        with self._lock:
            for index, member in enumerate(self.members):
                self._note_end(index)
                member.dismiss()
            self._engine.stop(number)
            self._engine.start()
            # Those that outlived the engine are none of its containers any more.
            for member in self.members:
                member.kill()

    # --- faults that are carried out otherwise ----------------------------------------------------

    def stop_in_order(self, index: int) -> None:
        with self._lock:
            self._note_end(index)
            self.members[index].stop()

    def heal(self) -> None:
        for index in range(self.size):
            self.reconnect(index)
            if index in self.clocks:
                self.move_clock(index, 0)
        super().heal()

    # --- building ---------------------------------------------------------------------------------

    def close(self) -> None:
        with contextlib.ExitStack() as ends:
            ends.callback(self._engine.close)
            ends.callback(super().close)
            for member in self.members:
                ends.callback(member.remove)
            for disk in self.disks.values():
                ends.callback(disk.fast)

    def _build(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="rusd-cluster-"))
        directory.chmod(0o755)
        self._guard = Guard(directory)
        self._disk_directory = disks.new_directory()
        tag = f"rusd-chaos-{os.getpid()}"
        self._links = ContainerNetwork(self.size, self._engine.client, self._pid, tag)
        self.network = self._links
        self._engine.reach(self._links.subnet)
        if self._library is not None:
            self._env = clock.environment()
        for index in range(self.size):
            self.disks[index] = disk = disks.Disk(self._disk_directory / f"disk-{index}")
            os.chown(disk.path, USER, USER)
            mounts = {disk.path: f"{DATA}:rw"}
            if self._library is not None:
                self.clocks[index] = made = Clock(directory / f"clock-{index}", self._library)
                mounts[made.directory] = f"{clock.INSIDE}:ro"
            member = ContainerMember(
                index,
                self._engine.client,
                self._links,
                self._images[0],
                mounts,
                {"rusd-chaos": tag},
            )
            self.members.append(member)
            # The address of the interface is missing while it is disconnected.
            for flag, port in zip(("client", "peer", "metrics"), PORTS, strict=True):
                self._add_flag(index, f"--listen-{flag}-urls=http://0.0.0.0:{port}")

    def _start(self, index: int) -> None:
        super()._start(index)
        self._links.apply_to(index)

    def _pid(self, index: int) -> int | None:
        member = self.members[index] if index < len(self.members) else None
        return member.pid or None if member is not None and member.running else None
