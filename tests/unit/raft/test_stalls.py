"""Stalls: a member that could not read does not judge the others by their silence."""

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from rusd.raft.core.clock import Clock
from rusd.raft.errors import RequestTimeout
from rusd.raft.transport.requests import PeerRequests
from tests.support.tasks import unexpected
from tests.unit.raft.cluster import ELECTION_MS, Cluster, payload

STALLS = 4


def test_of_a_stall_only_the_first_part_counts() -> None:
    real = [10.0]
    clock = Clock(lambda: real[0], 0.25)
    began = clock.now()
    for seconds, counted in ((0.25, 0.25), (5.0, 0.5), (0.125, 0.625), (0.0, 0.625), (1.25, 0.875)):
        real[0] += seconds
        assert clock.now() == began + counted


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_no_leader_is_lost_by_stalls_longer_than_an_election_timeout(
    tmp_path: Path, loop: object
) -> None:
    """The members share a loop, which stalls for all of them; what they sent waits in sockets."""

    async def scenario() -> None:
        async with Cluster(tmp_path) as cluster:
            leader = await cluster.leader()
            before = leader.member_id, leader.term
            for number in range(STALLS):
                time.sleep(1.5 * ELECTION_MS / 1000)  # noqa: ASYNC251 (it stands still)
                await leader.propose(payload(number))
                found = await cluster.leader()
                assert (found.member_id, found.term) == before

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(scenario())


def test_a_proposal_whose_deadline_passed_in_a_stall_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            (follower, _) = await cluster.followers()
            answer = follower.propose(payload(1))
            read = follower.read_index()
            (waiting,) = follower._core._proposals.waiting.values()
            waiting.deadline = follower.clock.now() + 1.0
            time.sleep(1.5)  # noqa: ASYNC251 (it stands still)
            await answer
            await read

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_a_question_is_given_up_at_its_deadline() -> None:
    async def scenario() -> None:
        asks = PeerRequests(lambda member, frame: None, unexpected)
        question = asyncio.create_task(asks.ask(1, "ttl", b"", 3.0))
        await asyncio.sleep(0)
        asks.expire(2.9)
        await asyncio.sleep(0)
        assert not question.done()
        asks.expire(3.0)
        with pytest.raises(RequestTimeout) as raised:
            await question
        assert isinstance(raised.value, RequestTimeout)

    asyncio.run(scenario())
