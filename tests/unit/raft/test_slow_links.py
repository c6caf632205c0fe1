"""Linearizable reads and questions over links whose round trips outlast patience and processes."""

import asyncio
from pathlib import Path
from typing import Any

from rusd.raft.read.waiting import RETRY
from rusd.raft.transport.frames import PeerResponse
from rusd.raft.transport.requests import PeerRequests
from tests.support.tasks import unexpected
from tests.unit.raft.cluster import Cluster, payload

LEADER = 1


def test_a_follower_reads_although_answers_take_longer_than_its_patience(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Cluster(tmp_path, election_ms=2000) as cluster:
            leader = await cluster.leader()
            await leader.propose(payload(1))
            (follower, _) = await cluster.followers()
            loop = asyncio.get_running_loop()
            cluster.delay = 0.2  # question, the leader's round, answer: 0.8 s
            assert 4 * cluster.delay > RETRY
            began = loop.time()
            async with asyncio.timeout(5):
                await follower.read_index()
            assert loop.time() - began > RETRY
            cluster.delay = 0.0

    asyncio.run(scenario())


def test_an_answer_to_a_question_of_an_earlier_life_answers_nothing() -> None:
    async def scenario() -> None:
        sent: list[Any] = []
        asking = []
        for _life in range(2):
            asks = PeerRequests(lambda member, frame: sent.append(frame), unexpected)
            asking.append(asyncio.create_task(asks.ask(LEADER, "ttl", b"", 60.0)))
            await asyncio.sleep(0)
        earlier, now = (frame.id for frame in sent)
        asks.answered(LEADER, PeerResponse(earlier, b"late", []))
        asks.answered(LEADER, PeerResponse(now, b"true", []))
        assert await asking[1] == b"true"
        asking[0].cancel()

    asyncio.run(scenario())
