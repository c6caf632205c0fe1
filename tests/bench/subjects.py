"""The clusters that are measured: rusd and etcd, one member and three, with the same flags."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from cluster.local import LocalCluster
from tests.support.pair import command


class Subject:
    """A running cluster that can be asked what it cost."""

    def __init__(self, name: str, members: int) -> None:
        self.name = name
        started = time.monotonic()
        self.cluster = LocalCluster(members, binary=[command(name)])
        self.cluster.start()
        #: From starting the first process to all members healthy, seconds.
        self.startup = time.monotonic() - started
        self._processes = [psutil.Process(member.pid) for member in self.cluster.members]

    def cpu_seconds(self) -> float:
        """User and system time of all members so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def resident_mib(self) -> float:
        """Mean resident memory of a member, MiB."""
        total = sum(process.memory_info().rss for process in self._processes)
        return float(total) / len(self._processes) / (1 << 20)

    def leader_url(self) -> str:
        return self.cluster.members[self.cluster.leader()].client_url

    def follower_url(self) -> str:
        leader = self.cluster.leader()
        return self.cluster.members[(leader + 1) % len(self.cluster.members)].client_url


@contextmanager
def running(members: int) -> Iterator[list[Subject]]:
    """rusd and etcd with so many members each, both running throughout."""
    subjects: list[Subject] = []
    try:
        for name in ("rusd", "etcd"):
            subjects.append(Subject(name, members))
        yield subjects
    finally:
        for subject in subjects:
            subject.cluster.close()
