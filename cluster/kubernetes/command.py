"""`python -m cluster.kubernetes --build DIRECTORY`: three members and a control plane on them."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..certificates import Authority
from ..local import ClusterError, LocalCluster
from .plane import STORE_FLAGS, ControlPlane, PlaneError


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Start three members and a Kubernetes control plane on them, until Ctrl-C.",
    )
    parser.add_argument("--build", type=Path, required=True, help="where the programs are built")
    parser.add_argument("--members", type=int, default=3, help="of the cluster (default: 3)")
    parser.add_argument("--nodes", type=int, default=10, help="that kwok plays (default: 10)")
    parser.add_argument("--binary", help="command to run instead of rusd, which takes its flags")
    return parser.parse_args(argv)


def describe(plane: ControlPlane, build: Path, seconds: float) -> str:
    """Describe the running control plane: addresses, kubeconfig file and usage."""
    kubectl = "kubectl" if shutil.which("kubectl") else f"{build.resolve() / 'kubernetes'} kubectl"
    return "\n".join(
        [
            f"Kubernetes is ready ({seconds:.0f} s). In another terminal:",
            f"  export KUBECONFIG={plane.kubeconfig}",
            f"  {kubectl} get nodes",
            f"  {kubectl} create deployment hello --image=any --replicas=20",
            f"  {kubectl} get pods -o wide",
            "Ctrl-C stops it and removes its data.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or until a program ends by itself; return the exit code."""
    chosen = arguments(argv)
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    started = time.monotonic()
    print(f"starting {chosen.members} member(s), then the control plane …", flush=True)
    binary = chosen.binary.split() if chosen.binary else None
    try:
        with tempfile.TemporaryDirectory(prefix="rusd-tls-") as directory:
            authority = Authority(Path(directory), "etcd")
            tls, peer_tls = authority.tls(verify_clients=True), authority.peer_tls()
            members = LocalCluster(
                chosen.members, binary=binary, flags=STORE_FLAGS, tls=tls, peer_tls=peer_tls
            )
            with (
                members,
                ControlPlane(chosen.build, members, tls, nodes=chosen.nodes) as plane,
            ):
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, lambda *_: leave.set())
                print(describe(plane, chosen.build, time.monotonic() - started), flush=True)
                while not leave.wait(0.5):
                    ended = [
                        p for p in (*members.members, *plane.programs.values()) if not p.running
                    ]
                    if ended:
                        print("\n".join(program.log_tail() for program in ended), file=sys.stderr)
                        return 1
                print("stopping …", flush=True)
    except KeyboardInterrupt:
        return 130
    except (ClusterError, PlaneError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
