"""Messages that take no step of their own: questions answered at once, replies behind a quorum."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rusd.raft.node import RaftNode
from rusd.raft.transport.connection import INBOX_FRAMES
from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    Frame,
    ReadRound,
    ReadRoundReply,
    SnapshotEnd,
    SnapshotReply,
    SnapshotRequest,
    pack,
)
from tests.unit.raft.cluster import Cluster as Nodes
from tests.unit.raft.cluster import until
from tests.unit.raft.simulated import ELECTION, HEARTBEAT, Cluster, Member, membership_of


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Member]:
    """Of three members that are at rest."""
    cluster = Cluster(tmp_path)
    for member in (1, 2, 3):
        cluster.add(member, membership_of({"voters": [1, 2, 3]}))
    one = cluster.members[1]
    one.core._campaign.timer._deadline = cluster.now
    cluster.settle()
    assert one.core.is_leader
    yield one
    for member in cluster.running():
        member.stop()


@asynccontextmanager
async def led(tmp_path: Path) -> AsyncIterator[RaftNode]:
    """The leader of three members that run on the event loop."""
    async with Nodes(tmp_path) as cluster:
        nodes = list(cluster.nodes.values())
        await until(lambda: any(node.is_leader for node in nodes))
        yield next(node for node in nodes if node.is_leader)


def reply(leader: Member, index: int) -> AppendReply:
    """The acknowledgement of everything up to `index`."""
    return AppendReply(leader.core.term, index + 1, reset=False, success=True)


def test_an_acknowledgement_of_what_is_committed_can_wait(leader: Member) -> None:
    assert leader.core.can_wait(2, reply(leader, leader.core.commit_index))


def test_an_acknowledgement_that_may_commit_cannot_wait(leader: Member) -> None:
    leader.core.propose(b"a", lambda _: None, float("inf"))
    leader.cluster.step(leader)
    assert leader.core.commit_index < leader.journal.last_index
    assert not leader.core.can_wait(2, reply(leader, leader.journal.last_index))


def test_an_acknowledgement_commits_in_the_step_that_brings_it(leader: Member) -> None:
    leader.core.propose(b"a", lambda _: None, float("inf"))
    leader.cluster.step(leader)
    leader.inbox.append((2, reply(leader, leader.journal.last_index)))
    leader.cluster.step(leader)
    assert leader.core.commit_index == leader.journal.last_index


def test_a_vote_less_is_counted_in_the_step_behind_the_change(leader: Member) -> None:
    """No message comes: what needs one acknowledgement fewer is committed all the same."""
    leader.core.propose(b"a", lambda _: None, float("inf"))
    leader.cluster.step(leader)
    leader.core.apply_membership(membership_of({"voters": [1], "removed": [2, 3]}))
    leader.cluster.step(leader)
    assert leader.core.commit_index == leader.journal.last_index


def test_an_acknowledgement_that_waited_does_not_outlive_its_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with led(tmp_path) as leader:
            driver, other = leader.driver, next(iter(leader.peer_status()))
            late = AppendReply(leader.term, leader.commit_index + 1, reset=False, success=True)
            driver._received(other, [late])
            driver._lost(other)
            driver._connected(other)
            assert (other, late) not in driver._inbox
            assert driver.core.match_index(other) == 0

    asyncio.run(scenario())


def test_a_commit_that_waited_outlives_the_connection_of_its_leader(tmp_path: Path) -> None:
    """A leader sends it to a member that is removed, and closes the connection."""

    async def scenario() -> None:
        async with Nodes(tmp_path) as cluster:
            await until(lambda: any(node.is_leader for node in cluster.nodes.values()))
            leader = next(node for node in cluster.nodes.values() if node.is_leader)
            follower = next(node for node in cluster.nodes.values() if node is not leader)
            await until(lambda: follower.driver.core.commit_index == leader.commit_index)
            driver = follower.driver
            unread: list[Frame] = []

            def hold(member: int, frames: list[Frame]) -> None:
                if member == leader.member_id:
                    unread.extend(frames)

            driver.peers._on_frames = hold
            await leader.propose(b"a")
            index = leader.commit_index

            def sent() -> bool:
                appends = [one for one in unread if isinstance(one, AppendEntries)]
                return any(one.commit_index >= index for one in appends if not one.is_heartbeat)

            await until(sent)
            assert driver.core.commit_index < index
            driver._received(leader.member_id, unread)
            driver._lost(leader.member_id)
            driver._turn()
            assert driver.core.commit_index >= index

    asyncio.run(scenario())


def test_time_alone_causes_a_turn_only_if_something_is_due(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with led(tmp_path) as leader:
            await until(lambda: leader.settled)
            driver, now = leader.driver, leader.clock.now()
            driver._next_deadlines = driver.core._next_deadlines = now + 60
            driver._scheduled = False
            driver.core._raft._SyncObj__newAppendEntriesTime = now + 60  # type: ignore[attr-defined]
            driver._on_timer()
            assert not driver._scheduled
            driver.core._raft._SyncObj__newAppendEntriesTime = now - 1  # type: ignore[attr-defined]
            driver._on_timer()
            assert driver._scheduled

    asyncio.run(scenario())


def test_a_look_at_the_clock_finds_heartbeats_campaigns_and_deadlines_due(leader: Member) -> None:
    core, now = leader.core, leader.core._raft.now
    core._next_deadlines = now + 60
    assert not core.due(now)
    assert core.due(now + 2 * HEARTBEAT)
    assert core.due(now + 60)
    core._next_deadlines = now + 60
    core._raft.step_down()
    core._campaign.timer.postpone(now)
    assert not core.due(now + ELECTION / 2)
    assert core.due(now + 2 * ELECTION)


def test_a_member_is_not_settled_while_a_message_or_a_flush_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with led(tmp_path) as leader:
            driver, other = leader.driver, next(iter(leader.peer_status()))
            await until(lambda: leader.settled)
            driver._inbox.append((other, AppendReply(leader.term, 1, reset=False, success=False)))
            assert not leader.settled
            driver._turn()
            await until(lambda: leader.settled)
            driver._flushing = driver._loop.create_future()
            assert not leader.settled
            driver._flushing = None
            assert leader.settled

    asyncio.run(scenario())


def test_what_waited_of_a_connection_is_dropped_when_the_member_is_connected_again(
    tmp_path: Path,
) -> None:
    """It comes again, and connections that end one after another must not fill the memory."""

    async def scenario() -> None:
        async with led(tmp_path) as leader:
            driver, other = leader.driver, next(iter(leader.peer_status()))
            append = AppendEntries(leader.term, 1, prev_index=1, prev_term=0, entries=[])
            driver._inbox.append((other, append))
            driver._lost(other)
            assert (other, append) in driver._inbox
            driver._connected(other)
            assert (other, append) not in driver._inbox

    asyncio.run(scenario())


def test_what_waited_of_a_lost_leader_puts_off_no_election(leader: Member) -> None:
    follower, now = leader.cluster.members[2].core, leader.cluster.now
    follower.disconnected(1, now)
    due = follower._campaign.timer._deadline
    index, term = leader.last
    late = AppendEntries(term, leader.core.commit_index, index, term, [])
    follower.step(now, [(1, late)])
    assert follower._campaign.timer._deadline == due


def test_no_snapshot_is_sent_to_a_member_whose_connection_ended_during_the_flush(
    tmp_path: Path,
) -> None:
    """It would be waited for until the stream counts as stalled, and no entries be sent."""

    async def scenario() -> None:
        async with led(tmp_path) as leader:
            driver, other = leader.driver, next(iter(leader.peer_status()))
            driver._inbox.append((other, SnapshotRequest(leader.term)))
            ready = driver.core.step(driver.clock.now(), driver._inbox)
            assert ready.events is not None
            assert other in ready.events.snapshots
            driver._lost(other)
            driver._finish(ready, ())
            assert not driver.streams.members

    asyncio.run(scenario())


def test_a_quiet_leader_without_answers_stands_down_after_an_election_timeout(
    leader: Member,
) -> None:
    """Neither messages nor entries come; half of its steps fall between two heartbeats."""
    leader.cluster.step(leader)
    began = now = leader.cluster.now
    while leader.core.is_leader and now < began + 2 * ELECTION:
        now += HEARTBEAT / 5
        leader.core.step(now, [])
    assert ELECTION <= now - began <= ELECTION + HEARTBEAT / 2


def test_an_acknowledgement_cannot_wait_while_leadership_is_transferred(leader: Member) -> None:
    leader.core.transfer(2, lambda _: None, leader.cluster.now)
    assert not leader.core.can_wait(2, reply(leader, leader.core.commit_index))


def test_a_rejection_cannot_wait(leader: Member) -> None:
    rejection = AppendReply(leader.core.term, 2, reset=True, success=False)
    assert not leader.core.can_wait(2, rejection)


def test_the_confirmation_of_an_open_round_cannot_wait(leader: Member) -> None:
    answers: list[object] = []
    leader.core.read(answers.append, float("inf"))
    leader.cluster.step(leader)
    confirmation = ReadRoundReply(leader.core.term, 1)
    assert not leader.core.can_wait(2, confirmation)
    leader.inbox.append((2, confirmation))
    leader.cluster.step(leader)
    assert answers == [None]
    assert leader.core.can_wait(2, confirmation)


def test_what_can_wait_is_handled_by_the_next_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with led(tmp_path) as leader:
            await leader.propose(b"a")
            driver, other = leader.driver, next(iter(leader.peer_status()))
            late = AppendReply(leader.term, leader.commit_index + 1, reset=False, success=True)
            driver._scheduled = False
            driver._received(other, [late])
            assert (other, late) in driver._inbox
            assert not driver._scheduled
            await until(lambda: (other, late) not in driver._inbox)

    asyncio.run(scenario())


def test_a_follower_confirms_its_leader_and_nobody_else(leader: Member) -> None:
    follower, term = leader.cluster.members[2].core, leader.core.term
    assert follower.confirm(1, ReadRound(term, 5)) == ReadRoundReply(term, 5)
    assert follower.confirm(3, ReadRound(term, 5)) is None
    assert follower.confirm(1, ReadRound(term - 1, 5)) is None
    assert follower.confirm(1, ReadRound(term + 1, 5)) is None
    follower.begin_quarantine()
    assert follower.confirm(1, ReadRound(term, 5)) is None


def test_a_follower_confirms_its_leader_while_its_flush_takes_long(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Nodes(tmp_path) as cluster:
            nodes = list(cluster.nodes.values())
            await until(lambda: any(node.is_leader for node in nodes))
            leader = next(node for node in nodes if node.is_leader)
            follower = next(node for node in nodes if not node.is_leader)
            await until(lambda: follower.leader_id == leader.member_id)
            driver = follower.driver
            sent: list[tuple[int, bytes]] = []
            driver.peers.send = lambda member, data, **_: sent.append((member, data))  # type: ignore[method-assign]
            driver._flushing = asyncio.get_running_loop().create_future()
            question = ReadRound(leader.term, 5)
            driver._received(leader.member_id, [question])
            driver._received(leader.member_id, [ReadRound(leader.term + 1, 6)])
            assert sent == [(leader.member_id, pack(ReadRoundReply(leader.term, 5)))]
            assert (leader.member_id, question) not in driver._inbox
            driver._flushing = None

    asyncio.run(scenario())


def test_questions_answered_at_once_do_not_fill_the_inbox(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Nodes(tmp_path) as cluster:
            nodes = list(cluster.nodes.values())
            await until(lambda: any(node.is_leader for node in nodes))
            leader = next(node for node in nodes if node.is_leader)
            follower = next(node for node in nodes if not node.is_leader)
            await until(lambda: follower.leader_id == leader.member_id)
            answered = 0
            deliver = leader.driver.peers._on_frames

            def count(member: int, frames: list[Frame]) -> None:
                nonlocal answered
                answered += sum(isinstance(frame, ReadRoundReply) for frame in frames)
                deliver(member, frames)

            leader.driver.peers._on_frames = count
            questions = 3 * INBOX_FRAMES
            data = b"".join(pack(ReadRound(leader.term, number)) for number in range(questions))
            leader.driver.peers.send(follower.member_id, data)
            await until(lambda: answered == questions)

    asyncio.run(scenario())


def test_frames_of_a_snapshot_that_are_not_taken_end_its_stream(leader: Member) -> None:
    """A member that lost sight of its leader for a while drops them. Its leader, which waits for
    an acknowledgement, has to begin again (seed 2065 of the simulation: nothing for 30 s).
    """
    follower = leader.cluster.members[2]
    ready = follower.core.step(leader.cluster.now, [(3, SnapshotEnd(7))])
    assert (3, SnapshotReply(7, -1)) in ready.after_flush


@pytest.mark.parametrize("learner", [True, False])
def test_an_acknowledgement_of_a_learner_takes_a_turn_at_once(
    tmp_path: Path, learner: bool
) -> None:
    """Its promotion is refused while the leader does not know that it is in sync."""

    async def scenario() -> None:
        async with led(tmp_path) as leader:
            driver, other = leader.driver, next(iter(leader.peer_status()))
            await until(lambda: not (driver._scheduled or driver._flushing or driver._inbox))
            if learner:
                membership = driver.core._raft.membership
                driver.core._raft.membership = dataclasses.replace(
                    membership,
                    voters=membership.voters - {other},
                    learners=frozenset({other}),
                )
            known = AppendReply(leader.term, leader.commit_index + 1, reset=False, success=True)
            driver._received(other, [known])
            assert driver._scheduled == learner

    asyncio.run(scenario())


def test_the_deadline_of_a_later_commit_takes_no_turn_before_it_has_come(tmp_path: Path) -> None:
    """The timer was set for a commit that has been announced with entries meanwhile."""

    async def scenario() -> None:
        async with led(tmp_path) as node:
            driver, notice = node.driver, node.driver.core._notice
            await until(lambda: notice.deadline is None and not driver._scheduled)
            notice.deadline = driver.clock.now() + 60
            driver._on_deadline()
            assert not driver._scheduled
            assert driver._deadline is not None
            driver._deadline.cancel()
            notice.deadline = driver.clock.now()
            driver._on_deadline()
            assert driver._scheduled

    asyncio.run(scenario())
