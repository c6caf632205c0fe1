"""Random partitions, one-way ones too, and restarts under load: nothing lost, nothing twice."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from rusd.base.errors import Refusal
from tests.unit.raft.cluster import Cluster


class Load:
    """Closed loops of proposals and reads on every member."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.count = 0
        self.acknowledged: set[str] = set()
        self.stale: list[str] = []
        self.running = True

    async def write(self, member: int) -> None:
        while self.running:
            self.count += 1
            text = f"{member}-{self.count}"
            try:
                await self.cluster.nodes[member].propose(text.encode())
                self.acknowledged.add(text)
            except (Refusal, KeyError):
                await asyncio.sleep(0.01)

    async def read(self, member: int) -> None:
        while self.running:
            known = set(self.acknowledged)
            try:
                await self.cluster.nodes[member].read_index()
                self.stale += known - set(self.cluster.machines[member].payloads)
            except (Refusal, KeyError):
                pass
            await asyncio.sleep(0.02)


def break_links(cluster: Cluster) -> None:
    """TCP loses nothing in the middle of a connection: what was cut is connected anew."""
    for node in cluster.nodes.values():
        for other in cluster.members:
            if {(node.member_id, other), (other, node.member_id)} & cluster.cut:
                node.driver.peers.break_off(other, "the test cuts it")


async def disturb(cluster: Cluster, chance: random.Random, rounds: int) -> None:
    pairs = [(a, b) for a in cluster.members for b in cluster.members if a != b]
    for _ in range(rounds):
        kind = chance.choice(["isolate", "one way", "restart", "flicker"])
        if kind == "isolate":
            cluster.isolate(chance.choice(cluster.members))
        elif kind == "one way":
            cluster.cut |= set(chance.sample(pairs, chance.choice([1, 2, 3])))
        elif kind == "restart":
            member = chance.choice(cluster.members)
            await cluster.kill(member)
            await cluster.start(member)
        break_links(cluster)
        await asyncio.sleep(chance.choice([0.02, 0.2, 0.5]))
        break_links(cluster)
        cluster.heal()
        await asyncio.sleep(chance.choice([0.0, 0.1, 0.4]))


@pytest.mark.parametrize("seed", [1, 2])
def test_acknowledged_writes_survive_and_no_read_is_stale(tmp_path: Path, seed: int) -> None:
    async def body() -> None:
        settings = {"election_ms": 150, "heartbeat_ms": 20, "snapshot_count": 300}
        async with Cluster(tmp_path, catchup_entries=50, **settings) as cluster:
            await cluster.leader()
            load = Load(cluster)
            async with asyncio.TaskGroup() as group:
                for member in cluster.members:
                    for _ in range(3):
                        group.create_task(load.write(member))
                    group.create_task(load.read(member))
                await disturb(cluster, random.Random(seed), rounds=10)
                load.running = False
            applied = await cluster.equal()
            assert len(load.acknowledged) > 100
            assert load.acknowledged <= set(applied), "acknowledged, but lost"
            assert max(Counter(applied).values()) == 1, "applied twice"
            assert load.stale == []
            assert not any(node.driver.stopped for node in cluster.nodes.values())

    asyncio.run(body())
