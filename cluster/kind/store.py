"""The etcd of the cluster: three members in containers with TLS, and waiting for their quorum."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path

from ..compose_tls import MEMBERS, VARIABLES
from . import tools

#: Name of the compose project: apart from `make compose`, whose volumes hold members without TLS.
PROJECT = "rusd-kind"

#: Network of the members, for the nodes.
NETWORK = "rusd"

#: Port of this machine that the first member listens on.
_PORT = 2379

#: Seconds until the members have a quorum, on a busy machine.
START_TIMEOUT = 60.0

_POLL = 0.25


def start(tls: Path) -> None:
    """Build the image, start the members and wait until they serve. Raises ToolError."""
    for name in MEMBERS:
        if tools.output("docker", "ps", "--all", "--quiet", "--filter", f"name=^{name}$"):
            raise tools.ToolError(
                f"there is a container {name} already: make kind-down, or make compose-down (TLS=1)"
            )
    base = tools.output("sh", "tests/docker/base-image.sh").strip()
    compose(tls, "up", "--build", "--detach", RUSD_BASE_IMAGE=base)
    wait(tls)


def remove() -> None:
    """Stop the members and remove their data. Raises ToolError."""
    tools.run(*tools.COMPOSE, "-p", PROJECT, "down", "--volumes")


def wait(tls: Path, timeout: float = START_TIMEOUT) -> None:
    """Wait until the first member has a quorum. Raises ToolError."""
    deadline = time.monotonic() + timeout
    while not healthy(tls):
        if time.monotonic() > deadline:
            logs = tools.output("docker", "logs", "--tail=20", MEMBERS[0])
            raise tools.ToolError(f"no quorum after {timeout:g} s; {MEMBERS[0]} wrote:\n{logs}")
        time.sleep(_POLL)


def healthy(tls: Path, port: int = _PORT) -> bool:
    """Return whether the member behind `port` of this machine serves with a quorum."""
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    context.load_cert_chain(tls / "client.crt", tls / "client.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def compose(tls: Path, *arguments: str, **variables: str) -> None:
    """Run Docker Compose on the members. Raises ToolError."""
    options = ("--env-file", str(tls / VARIABLES), "-p", PROJECT)
    tools.run(*tools.COMPOSE, *options, *arguments, env=variables)
