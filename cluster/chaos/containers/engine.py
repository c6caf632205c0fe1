"""The container engine: the one that runs, or a second one for this run.

The second engine has its data, socket and network namespace for itself, so that it can be stopped
and killed without harm to other containers. It sets no packet filter. A pair of interfaces leads
from this machine into its namespace:

    clients ──veth── namespace of the engine ──bridge── members

Names contain the process id of the run. The next run ends the engine of a killed run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import docker
from docker.errors import DockerException

from .. import namespaces
from ..namespaces import ip

ENGINES = ("running", "own")

#: Seconds for an engine to start or to stop.
PATIENCE = 60.0

_DIRECTORY = re.compile(r"rusd-engine-(\d+)-")
_LABEL = "rusd-chaos"
_PREFIX = "198.18"


class Engine(Protocol):
    """An engine to make containers with."""

    client: docker.DockerClient
    #: Whether it can be restarted.
    own: bool

    def reach(self, subnet: str) -> None:
        """Let this machine reach a network of the engine."""

    def stop(self, number: signal.Signals) -> None:
        """End the engine with a signal, and wait until it has ended."""

    def start(self) -> None:
        """Start the engine again, and wait until it responds."""

    def close(self) -> None:
        """Release what the run made."""


class RunningEngine:
    """The engine of the environment (DOCKER_HOST or the usual socket)."""

    own = False

    def __init__(self) -> None:
        """Removes containers and networks of killed runs. Raises OSError without an engine."""
        try:
            self.client = docker.from_env()
            self.client.ping()
        except DockerException as error:
            raise OSError(f"no container engine responds: {error}") from error
        for container in self.client.containers.list(all=True, filters={"label": _LABEL}):
            if not _alive(container.labels[_LABEL]):
                container.remove(force=True)
        for network in self.client.networks.list(filters={"label": _LABEL}):
            if not _alive(network.attrs["Labels"][_LABEL]):
                network.remove()

    def reach(self, subnet: str) -> None:
        """Do nothing: this machine has an interface on the bridge."""

    def stop(self, number: signal.Signals) -> None:
        raise NotImplementedError("others use this engine")

    def start(self) -> None:
        raise NotImplementedError("others use this engine")

    def close(self) -> None:
        self.client.close()


class OwnEngine:
    """A second engine, with copies of `images` of the running one."""

    own = True

    def __init__(self, images: Sequence[str]) -> None:
        """Raises OSError if it does not start."""
        remove_left_behind()
        self._directory = Path(tempfile.mkdtemp(prefix=f"rusd-engine-{os.getpid()}-"))
        self._tag = f"rc{os.getpid()}"
        self._gateway = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.client = docker.DockerClient(f"unix://{self._directory / 'socket'}", version="1.41")
        try:
            self._make_namespace()
            self.start()
            self._copy(images)
        except BaseException:
            self.close()
            raise

    def reach(self, subnet: str) -> None:
        ip("route", "replace", f"{subnet}.0/24", "via", self._gateway)

    def stop(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None
            # Its containerd ended with it. Where no init collects it, its process id stays in use,
            # and the next engine would wait for it.
            (self._directory / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def start(self) -> None:
        directory = self._directory
        with (directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # (`ip netns exec` would mount another /sys, without the cgroups.)
                [
                    *("nsenter", f"--net=/run/netns/{self._tag}e", "dockerd"),
                    *(f"--data-root={directory / 'data'}", f"--exec-root={directory / 'exec'}"),
                    *(f"--pidfile={directory / 'pid'}", f"--host=unix://{directory / 'socket'}"),
                    *("--bridge=none", "--iptables=false"),
                    *("--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{self._tag}"),
                    f"--containerd-namespace={self._tag}",
                    f"--containerd-plugins-namespace={self._tag}-plugins",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.ping()
                return
            except (DockerException, OSError):
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    tail = (directory / "log").read_text(errors="replace").splitlines()[-20:]
                    raise OSError("\n".join(["the engine does not start:", *tail])) from None
            time.sleep(0.1)

    def close(self) -> None:
        with contextlib.suppress(DockerException, OSError):
            for container in self.client.containers.list(all=True):
                container.remove(force=True)
        self.client.close()
        self.stop(signal.SIGTERM)
        _end(self._tag, self._directory)

    def _make_namespace(self) -> None:
        inside, host = f"{self._tag}e", f"{self._tag}h"
        subnet = f"{_PREFIX}.{os.getpid() % 250}"
        self._gateway = f"{subnet}.2"
        ip("netns", "add", inside)
        ip("link", "add", host, "type", "veth", "peer", "name", "host", "netns", inside)
        ip("address", "add", f"{subnet}.1/30", "dev", host)
        ip("link", "set", host, "up")
        ip("-n", inside, "address", "add", f"{self._gateway}/30", "dev", "host")
        ip("-n", inside, "link", "set", "host", "up")
        ip("-n", inside, "link", "set", "lo", "up")
        ip("-n", inside, "route", "add", "default", "via", f"{subnet}.1")

    def _copy(self, images: Sequence[str]) -> None:
        running = RunningEngine()
        try:
            for image in images:
                self.client.images.load(running.client.images.get(image).save(named=image))
        finally:
            running.close()


def remove_left_behind() -> None:
    """End the engines of killed runs, and remove their files."""
    for directory in Path(tempfile.gettempdir()).iterdir():
        made = _DIRECTORY.match(directory.name)
        if made and not Path(f"/proc/{made[1]}").exists():
            _end(f"rc{made[1]}", directory)


def _end(tag: str, directory: Path) -> None:
    """Remove the processes, the namespace and the files of an engine."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{directory}/".encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
    _end_group(tag)
    namespaces.remove(tag)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


def _end_group(tag: str) -> None:
    """Kill the processes of all containers of an engine, and remove their cgroups."""
    groups = Path("/sys/fs/cgroup")
    tops = [top for pattern in (tag, f"*/{tag}") for top in groups.glob(pattern)]
    deadline = time.monotonic() + 5.0
    while tops and time.monotonic() < deadline:
        for group in [inner for top in tops for inner in (*top.glob("*/"), top)]:
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        tops = [top for top in tops if top.exists()]
        time.sleep(0.05)


def _alive(tag: str) -> bool:
    """Return whether the run that made something with this tag goes on."""
    return Path(f"/proc/{tag.rpartition('-')[2]}").exists()
