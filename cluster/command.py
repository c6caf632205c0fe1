"""`python -m cluster.local`: a cluster for manual tests, until Ctrl-C."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from .local import ClusterError, LocalCluster
from .ports import PortTaken

#: Client port of the first member: etcd's.
BASE_PORT = 2379

#: Further members, from the base: 2379, 22379, 32379, … as in etcd's own local examples.
STRIDE = 10_000


def client_ports(base: int, members: int) -> list[int]:
    """Return `base`, then base + 20000, base + 30000 and so on."""
    found = [base] + [base + STRIDE * (index + 1) for index in range(1, members)]
    if base < 1 or found[-1] + 2 > 65535:
        raise ValueError(f"{members} members do not fit above port {base}")
    return found


def etcdctl() -> str:
    """Return the path of etcdctl beside this Python, else its bare name."""
    beside = Path(sys.executable).parent / "etcdctl"
    if beside.exists():
        try:
            return str(beside.relative_to(Path.cwd()))
        except ValueError:
            return str(beside)
    return shutil.which("etcdctl") or "etcdctl"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.local",
        description="Start a cluster on loopback ports and keep it until Ctrl-C.",
    )
    parser.add_argument("--members", type=int, default=3, help="how many (default: 3)")
    parser.add_argument(
        "--base-port",
        type=int,
        help=f"client port of the first member; further members use this + 20000, + 30000, … "
        f"(default: {BASE_PORT}, or free ports when one of those is in use)",
    )
    parser.add_argument("--data-dir", type=Path, help="keep the data here (default: temporary)")
    parser.add_argument(
        "--binary", help="command to run instead of rusd; it must take etcd's flags"
    )
    parser.add_argument("flags", nargs="*", help="flags for every member, after --")
    return parser.parse_args(argv)


def start(chosen: argparse.Namespace) -> LocalCluster:
    """Start the cluster, on other ports if the default ones are taken."""

    def cluster(ports: Sequence[int] | None) -> LocalCluster:
        return LocalCluster(
            chosen.members,
            binary=chosen.binary.split() if chosen.binary else None,
            flags=chosen.flags,
            directory=chosen.data_dir,
            client_ports=ports,
        )

    ports = client_ports(chosen.base_port or BASE_PORT, chosen.members)
    running = cluster(ports)
    try:
        running.start()
    except PortTaken as taken:
        # Kept data contains the peers' addresses, so their ports cannot change.
        if chosen.base_port is not None or chosen.data_dir is not None:
            raise
        print(f"{taken}; taking free ports instead", flush=True)
        running = cluster(None)
        running.start()
    return running


def describe(cluster: LocalCluster) -> str:
    """Describe the running cluster for a person at a terminal."""
    leader = cluster.leader()
    lines = [f"{cluster.size} member(s), healthy:"]
    for index, member in enumerate(cluster.members):
        role = "leader" if index == leader else ""
        lines.append(f"  {member.name}  {member.client_url:<24} log {member.log}  {role}".rstrip())
    command = f"{etcdctl()} --endpoints={','.join(cluster.endpoints)}"
    lines += [
        "Try:",
        f"  {command} endpoint status -w table",
        f"  {command} put greeting hello",
        f"  {cluster.members[0].client_url}/console/ in a browser",
        "Ctrl-C stops them all.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster until Ctrl-C; return the exit code."""
    chosen = arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    print(f"starting {chosen.members} member(s) …", flush=True)
    try:
        cluster = start(chosen)
    except KeyboardInterrupt:
        return 130
    except (ClusterError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    leave = threading.Event()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: leave.set())
        print(describe(cluster), flush=True)
        reported: set[str] = set()
        while not leave.wait(0.5):
            for member in cluster.members:
                if not member.running and member.name not in reported:
                    reported.add(member.name)
                    print(member.log_tail(), flush=True)
        print("stopping …", flush=True)
        codes = cluster.stop_all()
    finally:
        cluster.close()
    # etcd ends by the SIGTERM it received, after an orderly stop.
    return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1


if __name__ == "__main__":
    sys.exit(main())
