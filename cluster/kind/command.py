"""`python -m cluster.kind`: a kind cluster on members in containers, or on a running store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import compose_tls
from . import config, store, tools

BUILD = tools.ROOT / "build"
TLS = BUILD / "tls"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Kubernetes in Docker with rusd as its etcd."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start three members with TLS and a kind cluster on them")
    up.add_argument("--endpoints", help="client URLs of a cluster that runs already, by commas")
    up.add_argument("--cacert", type=Path, help="authority of its certificates")
    up.add_argument("--cert", type=Path, help="certificate for the API server")
    up.add_argument("--key", type=Path, help="its key")
    up.add_argument("--network", default=store.NETWORK, help="for the nodes (default: %(default)s)")
    up.add_argument("--image", help="of the nodes (default: kind's own)")
    up.add_argument(
        "--control-planes",
        type=int,
        default=1,
        help="nodes with a control plane, behind kind's load balancer (default: %(default)s)",
    )
    up.add_argument("--config", type=Path, default=tools.ROOT / "kind-config.yaml")
    up.add_argument("--name", default="rusd", help="of the cluster (default: %(default)s)")
    up.add_argument(
        "--wait", default="120s", help="for the nodes to be ready (default: %(default)s)"
    )
    down = commands.add_parser("down", help="remove both, with their data")
    down.add_argument("--name", default="rusd", help="of the cluster (default: %(default)s)")
    chosen = parser.parse_args(argv)
    files = ("cacert", "cert", "key")
    given = [name for name in files if getattr(chosen, name, None) is not None]
    if given and chosen.endpoints is None:
        parser.error(f"--{given[0]} belongs to --endpoints")
    if getattr(chosen, "control_planes", 1) < 1:
        parser.error("--control-planes: at least 1")
    return chosen


def up(chosen: argparse.Namespace) -> None:
    """Start the members, unless others are named, and the cluster. Raises ToolError."""
    tools.require("docker", "kind", "kubectl")
    if chosen.name in tools.output("kind", "get", "clusters").split():
        raise tools.ToolError(f"there is a kind cluster {chosen.name} already: make kind-down")
    text = chosen.config.read_text()
    if chosen.endpoints is not None:
        named = config.Store(chosen.endpoints.split(","), chosen.cacert, chosen.cert, chosen.key)
        text = config.of_store(text, named)
    if chosen.control_planes > 1:
        text = config.of_control_planes(text, chosen.control_planes)
    if chosen.endpoints is None:
        compose_tls.provide(TLS)
        store.start(TLS)
    BUILD.mkdir(exist_ok=True)
    file = BUILD / f"kind-{chosen.name}.yaml"
    file.write_text(text)
    image = [f"--image={chosen.image}"] if chosen.image else []
    tools.run(
        *("kind", "create", "cluster", f"--name={chosen.name}", f"--config={file}"),
        *(*image, f"--wait={chosen.wait}"),
        env={"KIND_EXPERIMENTAL_DOCKER_NETWORK": chosen.network},
    )
    tools.run("kubectl", f"--context=kind-{chosen.name}", "get", "nodes")


def down(chosen: argparse.Namespace) -> None:
    """Remove the cluster and the members that `up` started. Raises ToolError."""
    tools.require("docker", "kind")
    tools.run("kind", "delete", "cluster", f"--name={chosen.name}")
    store.remove()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    chosen = arguments(argv)
    try:
        if chosen.command == "up":
            up(chosen)
        else:
            down(chosen)
    except KeyboardInterrupt:
        return 130
    except (tools.ToolError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
