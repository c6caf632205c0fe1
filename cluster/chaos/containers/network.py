"""The network of one cluster of containers: the engine's bridge, broken inside the containers.

The commands iptables and tc are those of this machine: nsenter runs them in the namespace of a
member's process, so that the image needs no tools. A started container has a new namespace, and
gets its rules some milliseconds after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import docker
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from ..filters import FilteredNetwork

#: 198.18.0.0/15 is set aside for tests of networks; `namespaces` takes the lower half.
_PREFIX = "198.19"


class ContainerNetwork(FilteredNetwork):
    """A network of the engine for `size` members; made when constructed."""

    def __init__(
        self, size: int, client: docker.DockerClient, pid: Callable[[int], int | None], tag: str
    ) -> None:
        """`pid`: process id of a member by index, None while it does not run."""
        super().__init__(size)
        self.subnet = f"{_PREFIX}.{os.getpid() % 250}"
        self._pid = pid
        pool = IPAMPool(subnet=f"{self.subnet}.0/24", gateway=f"{self.subnet}.1")
        self._network: Any = client.networks.create(
            tag, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"rusd-chaos": tag}
        )
        self.name = tag

    def address(self, member: int) -> str:
        return f"{self.subnet}.{member + 10}"

    def enter(self, member: int) -> list[str]:
        pid = self._pid(member)
        return [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net"]

    def endpoint(self, member: int, version: str) -> EndpointConfig:
        """Return what a new container of this member is connected with."""
        return EndpointConfig(version, ipv4_address=self.address(member))

    def disconnect(self, container: str) -> None:
        """Take the container's interface away."""
        self._network.disconnect(container, force=True)

    def connect(self, container: str, member: int) -> None:
        """Give the container an interface again, with the same address."""
        self._network.connect(container, ipv4_address=self.address(member))

    def close(self) -> None:
        self._network.remove()
