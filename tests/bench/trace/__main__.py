"""Trace calls of the Kubernetes API server, one at a time, on three members."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.bench import apiserver, pipeline
from tests.bench.calls import RANGE_PATH, TXN_PATH
from tests.bench.trace.stages import Note, Span, fastest, stages

CREATE, UPDATE, GET = "create txn", "update txn", "get"
#: The part of the calls of which the medians are; the others met another program.
PART = 0.5


class Members(LocalCluster):
    """Three members with notes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(3)
        self._directory = directory

    def command(self, index: int) -> list[str]:
        own = [sys.executable, "-m", "tests.bench.trace.member", str(self.file(index))]
        flags = [word for word in super().command(index) if word.startswith("--")]
        return own + flags

    def file(self, index: int) -> Path:
        return self._directory / f"{index}.jsonl"


def calls_of(endpoint: str, prefix: bytes, calls: int) -> dict[str, list[Span]]:
    """Make each kind of call so often, one at a time."""
    revisions: dict[int, int] = {}

    def key(number: int) -> bytes:
        return prefix + b"%08d" % number

    def ask(path: str, kind: str) -> list[Span]:
        begun: list[int] = []
        spans: list[Span] = []

        def requests() -> Iterator[bytes]:
            for number in range(calls):
                if kind == GET:
                    message = rpc.RangeRequest(key=key(number)).SerializeToString()
                else:
                    message = apiserver.write_at(key(number), revisions.get(number, 0))
                begun.append(time.monotonic_ns())
                yield message

        def answered(number: int, message: bytes) -> None:
            spans.append((begun[-1], time.monotonic_ns()))
            if kind != GET:
                revisions[number] = rpc.TxnResponse.FromString(message).header.revision

        pipeline.run(endpoint, path, requests(), 1, answered)
        return spans

    return {
        CREATE: ask(TXN_PATH, CREATE),
        UPDATE: ask(TXN_PATH, UPDATE),
        GET: ask(RANGE_PATH, GET),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trace", description=__doc__)
    parser.add_argument("--calls", type=int, default=400, help="of each kind")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Members(Path(directory)) as cluster:
        leader = cluster.leader()
        roles = {"leader": leader, "follower": (leader + 1) % 3, "other": (leader + 2) % 3}
        made = {}
        for role in ("leader", "follower"):
            endpoint = cluster.members[roles[role]].endpoint
            calls_of(endpoint, b"/registry/warm/%s/" % role.encode(), 100)
            made[role] = calls_of(endpoint, b"/registry/%s/" % role.encode(), chosen.calls)
        cluster.stop_all()
        notes: dict[str, list[Note]] = {
            role: [tuple(json.loads(line)) for line in cluster.file(index).read_text().splitlines()]
            for role, index in roles.items()
        }
    for role, kinds in made.items():
        for kind, spans in kinds.items():
            used = fastest(spans, PART)
            whole = median(end - begin for begin, end in used) / 1000
            print(f"\n{kind} at the {role}: {whole:.0f} µs at the client, {len(used)} calls")
            print("| begin | µs | alone | member | stage |\n| --- | --- | --- | --- | --- |")
            for stage in stages(notes, used):
                print(
                    f"| {stage.begin:.0f} | {stage.seconds:.0f} | {stage.alone:.0f} "
                    f"| {stage.member} | {stage.name} |"
                )


if __name__ == "__main__":
    main()
