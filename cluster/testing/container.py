"""A member in a container, for tests that must run what production runs.

    with Container("rusd:0.1.0") as server:
        connect(server.url)

    Container("quay.io/coreos/etcd:v3.6.0", command=["etcd"])

Takes the engine of the environment (DOCKER_HOST or the usual socket). The port on this machine is a
free one and bound to loopback; the container and its volumes are removed at the end of the block.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

import docker
from docker.models.containers import Container as Running

from .. import ports, wire

#: Seconds until the member must be healthy.
START_TIMEOUT = 60.0
POLL = 0.05

#: Port in the container.
_PORT = 2379


class Container:
    """One member; `start` and `stop` by hand, or a `with` block."""

    def __init__(
        self, image: str, *, command: Sequence[str] = (), flags: Sequence[str] = ()
    ) -> None:
        """`command`: what to run if the image has no entry point; `flags`: the member's."""
        self._image = image
        self._command = list(command)
        self._flags = list(flags)
        self._claim = ports.Claim()
        self._running: Running | None = None
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Address for clients, as "host:port"."""
        return f"{ports.HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Client URL."""
        return f"http://{self.endpoint}"

    def start(self) -> None:
        """Start the container, and wait until it is healthy. Raises TimeoutError with its log."""
        self.port = self._claim.any(1)[0]
        client = docker.from_env()
        try:
            self._running = client.containers.run(
                self._image,
                [
                    *self._command,
                    f"--listen-client-urls=http://0.0.0.0:{_PORT}",
                    f"--advertise-client-urls={self.url}",
                    *self._flags,
                ],
                detach=True,
                ports={f"{_PORT}/tcp": (ports.HOST, self.port)},
                labels={"rusd-testing": "member"},
            )
            self._await_health(self._running)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the container with its volumes."""
        if self._running is not None:
            self._running.remove(force=True, v=True)
            self._running.client.close()
            self._running = None
        self._claim.release()

    def log(self) -> str:
        """Return what the member wrote to its standard output and error."""
        return "" if self._running is None else self._running.logs().decode(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _await_health(self, running: Running) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return wire.check_health(self.endpoint)
            except wire.NoAnswer:
                running.reload()
                if running.status == "exited" or time.monotonic() > deadline:
                    raise TimeoutError(f"{self._image} is not healthy\n{self.log()}") from None
                time.sleep(POLL)
