"""A member as a container, with the interface of a process.

The container is made anew when its image, command or environment has changed, and started again
otherwise. It has no restart policy: the harness starts it again, when it heals the fault.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, NotFound

from ...process import STOP_TIMEOUT, Member
from .network import ContainerNetwork

#: The user of every member: the images must work with any.
USER = 10001
#: Bytes of memory that a container may use.
MEMORY = 512 << 20
#: Where its disk is, in the container.
DATA = Path("/data")
#: Client, peer, metrics.
PORTS = (2379, 2380, 2381)

_ENDED = ("exited", "dead")


class ContainerMember(Member):
    """A member: its container, addresses and data."""

    def __init__(
        self,
        index: int,
        client: docker.DockerClient,
        network: ContainerNetwork,
        image: str,
        mounts: Mapping[Path, str],
        labels: Mapping[str, str],
    ) -> None:
        """`mounts`: directory of this machine -> directory in the container."""
        super().__init__(f"rusd-{index + 1}", DATA, PORTS, network.address(index))
        self.index = index
        self.image = image
        self.container = f"{network.name}-{self.name}"
        self.log = Path(self.container)
        self.disconnected = False
        self._client = client
        self._network = network
        self._mounts = mounts
        self._labels = dict(labels)
        #: Image, command and environment of the container.
        self._made: tuple[object, ...] = ()

    @property
    def pid(self) -> int:
        pid: int = self._state()["Pid"]
        return pid

    @property
    def running(self) -> bool:
        return bool(self._state().get("Running"))

    @property
    def exit_code(self) -> int | None:
        state = self._state()
        return state["ExitCode"] if state.get("Status") in _ENDED else None

    def start(self, command: Sequence[str], env: Mapping[str, str], group: int) -> None:
        """Start the container. Its processes are the engine's, not of the launcher's `group`."""
        wanted = (self.image, tuple(command), tuple(sorted(env.items())))
        if wanted != self._made:
            self.remove()
            self._make(command, env)
            self._made = wanted
            self.disconnected = False
        self._client.api.start(self.container)
        self.paused = self._dismissed = False

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(APIError):  # it does not run
            self._client.api.kill(self.container, number.name)

    def kill(self) -> None:
        self._dismissed = True
        self.resume()
        self.signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        code = self._wait(timeout)
        if code is None:
            self.kill()
            raise TimeoutError(f"{self.name} did not stop within {timeout:g} s\n{self.log_tail()}")
        return code

    def pause(self) -> None:
        """Let the engine freeze the container's cgroup."""
        with contextlib.suppress(APIError):
            self._client.api.pause(self.container)
        self.paused = bool(self._state().get("Paused"))

    def resume(self) -> None:
        if self.paused:
            with contextlib.suppress(APIError):
                self._client.api.unpause(self.container)
        self.paused = False

    def stop(self) -> None:
        """Stop the container as `docker stop` does, and wait."""
        self._dismissed = True
        self.resume()
        self._client.api.stop(self.container, timeout=int(STOP_TIMEOUT))

    def remove(self) -> None:
        """Remove the container, if there is one."""
        with contextlib.suppress(NotFound):
            self._client.api.remove_container(self.container, force=True)
        self._made = ()

    def log_of_this_run(self) -> str:
        started = self._state().get("StartedAt", "")
        if started < "1":  # never
            return ""
        since = datetime.fromisoformat(f"{started[:19]}+00:00").timestamp()
        text: bytes = self._client.api.logs(self.container, since=int(since))
        return text.decode(errors="replace")

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = self._client.api.inspect_container(self.container)["State"]
        except NotFound:
            return {}
        return state

    def _wait(self, timeout: float) -> int | None:
        """Return the exit code; None if the container still runs after `timeout`."""
        try:
            code: int = self._client.api.wait(self.container, timeout=timeout)["StatusCode"]
        except NotFound:
            return 0
        except (requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
            return None
        return code

    def _make(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        api = self._client.api
        self._client.containers.create(
            self.image,
            list(command),
            name=self.container,
            hostname=self.name,
            user=f"{USER}:{USER}",
            environment=dict(env),
            volumes=[f"{source}:{inside}" for source, inside in self._mounts.items()],
            network=self._network.name,
            networking_config={
                self._network.name: self._network.endpoint(self.index, api._version)
            },
            labels=self._labels,
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=MEMORY,
            # Its checks would take the time of the machine that the clients need.
            healthcheck={"test": ["NONE"]},
        )
