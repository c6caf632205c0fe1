"""Run the benchmark and write docs/benchmarks.md (`--quick` for a short look, not written)."""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rusd.proto import rpc_pb2 as rpc
from tests.bench.load import Measured, Shape, measure
from tests.bench.report import render
from tests.bench.subjects import Subject, running
from tests.support.client import Client

PUT = ("/etcdserverpb.KV/Put", rpc.PutRequest(key=b"bench/key", value=b"v" * 256))
RANGE = ("/etcdserverpb.KV/Range", rpc.RangeRequest(key=b"bench/key"))
SERIALIZABLE = ("/etcdserverpb.KV/Range", rpc.RangeRequest(key=b"bench/key", serializable=True))
THOUSAND = (
    "/etcdserverpb.KV/Range",
    rpc.RangeRequest(key=b"many/", range_end=b"many0", limit=1000),
)
SHAPES = (Shape(1, 1), Shape(1, 100), Shape(10, 10), Shape(100, 1))


@dataclass
class Row:
    """One line of the table: every repetition's numbers, per subject."""

    title: str
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, measured: Measured, cpu_seconds: float, seconds: float) -> None:
        """`cpu_seconds` of all members while h2load ran `seconds` plus its warm-up second."""
        self.rates[name].append(measured.rate)
        self.latencies[name].append(measured.latency_ms)
        # The warm-up second is served at about the same rate and costs CPU too.
        self.cpu[name].append(cpu_seconds / (measured.rate * (seconds + 1)) * 1000)


def loads(members: int) -> list[tuple[str, str, tuple[str, rpc.PutRequest], Shape]]:
    """(title, leader or follower, call, shape) of every row."""
    rows = []
    for shape in SHAPES:
        rows.append(("put 256 B, leader", "leader", PUT, shape))
    if members > 1:
        for shape in SHAPES[1:3]:
            rows.append(("put 256 B, follower", "follower", PUT, shape))
    for shape in SHAPES:
        rows.append(("range 1 key, linearizable, leader", "leader", RANGE, shape))
    if members > 1:
        rows.append(("range 1 key, linearizable, follower", "follower", RANGE, SHAPES[2]))
    rows.append(("range 1 key, serializable, leader", "leader", SERIALIZABLE, SHAPES[2]))
    rows.append(("range 1,000 keys, linearizable, leader", "leader", THOUSAND, SHAPES[2]))
    return rows  # type: ignore[return-value]


def fill(subject: Subject) -> None:
    with Client(subject.cluster.endpoints[0]) as client:
        client.put(b"bench/key", b"v" * 256)
        for start in range(0, 1000, 100):
            puts = [
                rpc.RequestOp(request_put=rpc.PutRequest(key=b"many/%04d" % n, value=b"v" * 256))
                for n in range(start, start + 100)
            ]
            client.txn(rpc.TxnRequest(success=puts))


def compare(members: int, repeat: int, seconds: float, scratch: Path) -> dict[str, object]:
    """Measure every row `repeat` times, rusd and etcd taking turns."""
    rows = {f"{title} {shape}": Row(f"{title}, {shape}") for title, _, _, shape in loads(members)}
    with running(members) as subjects:
        idle = {subject.name: subject.resident_mib() for subject in subjects}
        for subject in subjects:
            fill(subject)
        for _ in range(repeat):
            for title, target, (path, request), shape in loads(members):
                for subject in subjects:
                    url = subject.leader_url() if target == "leader" else subject.follower_url()
                    before = subject.cpu_seconds()
                    measured = measure(url, path, request, shape, seconds, scratch)
                    used = subject.cpu_seconds() - before
                    row = rows[f"{title} {shape}"]
                    row.add(subject.name, measured, used, seconds)
                    print(
                        f"{members} member(s) {row.title}: {subject.name} "
                        f"{measured.rate:,.0f}/s {measured.latency_ms:.2f} ms",
                        flush=True,
                    )
        startup = {subject.name: subject.startup for subject in subjects}
        loaded = {subject.name: subject.resident_mib() for subject in subjects}
    startups = defaultdict(list, {name: [value] for name, value in startup.items()})
    for _ in range(repeat - 1):
        with running(members) as subjects:
            for subject in subjects:
                startups[subject.name].append(subject.startup)
    return {
        "members": members,
        "rows": list(rows.values()),
        "startup": {name: statistics.median(values) for name, values in startups.items()},
        "idle": idle,
        "loaded": loaded,
    }


def machine() -> str:
    """What the numbers were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    import psutil

    return (
        f"{psutil.cpu_count()} shared cores ({model}), "
        f"{psutil.virtual_memory().total >> 30} GiB, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of every row")
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    parser.add_argument("--members", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--quick", action="store_true", help="one repetition, nothing written")
    arguments = parser.parse_args()
    repeat = 1 if arguments.quick else arguments.repeat
    seconds = 2 if arguments.quick else arguments.seconds
    with tempfile.TemporaryDirectory(prefix="rusd-bench-") as scratch:
        results = [
            compare(members, repeat, seconds, Path(scratch)) for members in arguments.members
        ]
    page = render(results, machine(), repeat, seconds)
    print(page)
    if not arguments.quick:
        Path("docs/benchmarks.md").write_text(page)


if __name__ == "__main__":
    main()
