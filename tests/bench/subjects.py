"""The clusters that are measured: rusd and etcd, with the same flags."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cluster.local import LocalCluster
from cluster.tls import PeerTls
from tests.bench import costs
from tests.bench.costs import Memory
from tests.bench.plan import Plan
from tests.bench.rows import SERVERS
from tests.support.pair import ORACLE, SUBJECT, command

#: A benchmark writes faster than anyone compacts: without this, etcd's 2 GiB would be used up.
FLAGS = [f"--quota-backend-bytes={32 << 30}"]

#: Seconds a cluster may take to be healthy, also with a million keys to recover.
START_TIMEOUT = 120.0


class Subject:
    """A running cluster that can be asked what it cost."""

    def __init__(
        self,
        name: str,
        members: int,
        peer_tls: PeerTls | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.name = name
        # As in the differential tests: with etcd on both sides, all ratios must be about 1.
        binary = command(SUBJECT if name == "rusd" else ORACLE)
        self.cluster = LocalCluster(
            members,
            binary=[binary],
            flags=[*FLAGS, *flags],
            peer_tls=peer_tls or False,
            start_timeout=START_TIMEOUT,
        )
        started = time.monotonic()
        self.cluster.start()
        #: From starting the first process to all members healthy, seconds.
        self.startup = time.monotonic() - started

    def restart(self) -> float:
        """Stop all members in order and start them again; seconds until all are healthy."""
        self.cluster.stop_all()
        started = time.monotonic()
        self.cluster.start_all()
        self.cluster.wait_healthy(START_TIMEOUT)
        taken = time.monotonic() - started
        return taken

    def cpu_seconds(self) -> float:
        """User and system time of all members so far."""
        return costs.cpu_seconds(self.cluster)

    def memory(self, index: int) -> Memory:
        """Of the member at `index`."""
        return costs.memory(self.cluster.members[index])

    def mean_memory(self) -> Memory:
        """Mean of the members."""
        return costs.mean_memory(self.cluster)

    def target(self, role: str) -> int:
        """Index of the leader, or for "follower" of the member after it."""
        leader = self.cluster.leader()
        return leader if role == "leader" else (leader + 1) % len(self.cluster.members)

    def endpoint(self, role: str) -> str:
        """Client address of that member, host:port."""
        return self.cluster.members[self.target(role)].endpoint

    def url(self, role: str) -> str:
        return self.cluster.members[self.target(role)].client_url


@contextmanager
def running(members: int, plan: Plan, peer_tls: PeerTls | None = None) -> Iterator[list[Subject]]:
    """rusd and etcd with so many members each, both running throughout."""
    started: dict[str, Subject] = {}
    earlier = len(plan.startups.get((members, SERVERS[0]), ()))
    try:
        # The one that starts second finds the other running: each is that one in turn.
        for name in SERVERS if earlier % 2 == 0 else SERVERS[::-1]:
            started[name] = Subject(name, members, peer_tls)
            plan.startups.setdefault((members, name), []).append(started[name].startup)
        yield [started[name] for name in SERVERS]
    finally:
        for subject in started.values():
            subject.cluster.close()


def in_turn(subjects: list[Subject], turn: int) -> list[Subject]:
    """Alternates the order of the subjects, so that neither always runs after the other."""
    return subjects if turn % 2 == 0 else subjects[::-1]
