"""Queues of a member are bounded; requests above a bound get a defined answer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rusd.raft.core import syncobj
from rusd.raft.errors import TooManyReads
from rusd.raft.log import journal
from rusd.raft.read import linearizable
from rusd.raft.transport import requests
from rusd.raft.transport.frames import PeerRequest, PeerResponse, ReadIndexReply, ReadIndexRequest
from rusd.raft.transport.requests import PeerRequests
from tests.support.tasks import unexpected
from tests.unit.raft.cluster import Cluster, until
from tests.unit.raft.cores import Member


def test_requests_of_a_member_beyond_the_limit_are_refused_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "MAX_SERVED", 10)

    async def story() -> None:
        sent: list[tuple[int, Any]] = []
        served = PeerRequests(lambda member, frame: sent.append((member, frame)), unexpected)
        go_on = asyncio.Event()

        async def wait(member: int, body: bytes) -> bytes:
            await go_on.wait()
            return body

        served.serve("wait", wait)
        for number in range(12):
            served.asked(2, PeerRequest(number, "wait", b""))
        assert [frame.id for _, frame in sent] == [10, 11]
        assert all(frame.error for _, frame in sent)
        served.asked(3, PeerRequest(99, "wait", b""))
        assert len(sent) == 2, "another member has its own limit"
        go_on.set()
        await until(lambda: not served._tasks)
        sent.clear()
        served.asked(2, PeerRequest(100, "wait", b"again"))
        await until(lambda: sent)
        assert sent == [(2, PeerResponse(100, b"again", []))]

    asyncio.run(story())


def test_the_bytes_of_a_members_requests_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_SERVED_BYTES", 1000)

    async def story() -> None:
        sent: list[Any] = []
        served = PeerRequests(lambda member, frame: sent.append(frame), unexpected)

        async def wait(member: int, body: bytes) -> bytes:
            await asyncio.Event().wait()
            return body

        served.serve("wait", wait)
        for number in range(3):
            served.asked(2, PeerRequest(number, "wait", bytes(400)))
        assert [frame.id for frame in sent] == [2]
        served.stop()
        await until(lambda: not served._tasks)

    asyncio.run(story())


def test_reads_beyond_the_limit_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linearizable, "MAX_WAITING_READS", 50)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            (follower, _) = await cluster.followers()
            cluster.isolate(follower.member_id)
            reads = [follower.read_index() for _ in range(50)]
            with pytest.raises(TooManyReads):
                await follower.read_index()
            cluster.heal()
            async with asyncio.timeout(20):
                for read in reads:
                    await read
                await follower.read_index()

    asyncio.run(story())


def test_a_leader_keeps_no_more_read_requests_of_a_follower_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linearizable, "MAX_UNANSWERED", 20)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            leader = await cluster.leader()
            await leader.propose(b"1")
            (one, other) = await cluster.followers()
            reads = leader._core._reads
            sent: list[tuple[int, Any]] = []
            monkeypatch.setattr(reads, "_send", lambda member, frame: sent.append((member, frame)))
            for number in range(100):
                reads.requested(one.member_id, ReadIndexRequest(number))
            reads.requested(other.member_id, ReadIndexRequest(7))
            assert len(reads._unanswered[one.member_id]) == 20
            assert len(reads._asked) == 21, "another member has its own limit"
            monkeypatch.undo()
            leader.driver.wake()
            await until(lambda: not any(reads._unanswered.values()))
            assert not [frame for _, frame in sent if isinstance(frame, ReadIndexReply)]

    asyncio.run(story())


def test_a_lagging_follower_is_sent_a_bounded_part_of_the_log_in_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another follower at once what it lacks, also behind the one that was sent enough."""
    bound, slice_bytes, size = 8000, 4000, 1000
    monkeypatch.setattr(syncobj, "SEND_BYTES", bound)
    monkeypatch.setattr(journal, "SLICE_BYTES", slice_bytes)
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    for _ in range(50):
        last = leader.core.propose(bytes(size))
    leader.core._SyncObj__raftNextIndex[leader.core.peers[3]] = last
    sent: dict[int, list[int]] = {2: [], 3: []}
    for step in range(10):
        leader.core.send_appends()
        outbox, leader.core.link.outbox = leader.core.link.outbox, []
        for member in (2, 3):
            entries = [one for to, each in outbox if to == member for one in each["entries"]]
            assert sum(len(command) for command, _, _ in entries) <= bound + slice_bytes
            sent[member] += [index for _, index, _ in entries]
        assert {2, 3} == {peer.member for peer in leader.core._SyncObj__connectedNodes}
        assert sent[3][-1:] == [last], "in the first step"
        assert step or len(sent[2]) >= bound // size
    assert sent[2] == list(range(last - 49, last + 1)), "each entry once, in order"
