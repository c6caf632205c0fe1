"""Run the rounds and write the section "Kubernetes" of docs/benchmarks.md.

A run of other than the default size, or one in which something failed, is shown but not written.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from cluster.certificates import Authority
from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster, rusd_command
from tests.bench.kubernetes.report import Rounds, section, with_section
from tests.bench.kubernetes.work import NODES, Size, measure
from tests.bench.machine import machine
from tests.bench.plan import say

PAGE = Path("docs/benchmarks.md")

SUBJECT = "rusd"

MEMBERS = 3


def arguments() -> argparse.Namespace:
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kubernetes", description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="where the programs are built")
    parser.add_argument(
        "--beside", type=Path, nargs="+", required=True, metavar="ETCD", help="etcd binaries"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=usual.objects, help="of each way of making")
    parser.add_argument("--replicas", type=int, default=usual.replicas, help="of the deployment")
    parser.add_argument("--output", type=Path, help=f"write the section into this page, not {PAGE}")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    size = Size(chosen.objects, chosen.replicas)
    commands = {SUBJECT: rusd_command()}
    for binary in chosen.beside:
        commands[_name(binary)] = [str(binary.resolve())]
    measured: dict[str, Rounds] = {name: [] for name in commands}
    started = time.monotonic()
    names, failed = list(commands), 0
    for turn in range(chosen.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found = {}
            try:
                found = one_round(commands[name], chosen.build, size)
            except Exception:  # noqa: BLE001
                traceback.print_exc()
                failed += 1
            measured[name].append(found)
            shown = json.dumps({title: round(value, 3) for title, value in found.items()})
            say(f"round {turn + 1}: {name}: {shown}")
    text = section(measured, SUBJECT, size, _version(chosen.build), machine())
    print(text)
    whole = size == Size() and chosen.rounds > 1 and not failed
    output = chosen.output or (PAGE if whole else None)
    if output is not None:
        output.write_text(with_section(output.read_text(), text))
        say(f"written: {output}")
    say(f"{time.monotonic() - started:.0f} s, {failed} failed")
    return 1 if failed else 0


def one_round(command: list[str], build: Path, size: Size) -> dict[str, float]:
    """Fresh members and a control plane of this command; what was measured."""
    with tempfile.TemporaryDirectory(prefix="rusd-tls-") as directory:
        authority = Authority(Path(directory), "etcd")
        tls, peer_tls = authority.tls(verify_clients=True), authority.peer_tls()
        with LocalCluster(MEMBERS, binary=command, tls=tls, peer_tls=peer_tls) as members:
            begun = time.monotonic()
            with ControlPlane(build, members, tls, nodes=NODES) as plane:
                start = {
                    f"start the control plane, {NODES} nodes ready, s": time.monotonic() - begun
                }
                return start | measure(plane, members, size)


def _name(binary: Path) -> str:
    shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"etcd Version: (\S+)", shown.stdout)
    assert found, shown.stdout
    return f"etcd {found[1]}"


def _version(build: Path) -> str:
    command = [build / "kubernetes", "kubectl", "version", "--client", "-o", "json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    version: str = json.loads(shown.stdout)["clientVersion"]["gitVersion"]
    return f"Kubernetes {version}"


if __name__ == "__main__":
    sys.exit(main())
