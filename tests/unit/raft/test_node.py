"""The Raft node as the rooms above see it: three members (or one) in one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rusd.base.errors import Refusal
from rusd.raft.commands import STAND_IN, decode_entry
from rusd.raft.core import proposals as proposals_module
from rusd.raft.errors import (
    AnsweredWithError,
    BadTransferee,
    LeaderFailed,
    NotLeader,
    RequestTimeout,
    Stopped,
    TooManyProposals,
    TransferTimeout,
)
from rusd.raft.transport.frames import TimeoutNow
from rusd.state.errors import LeaseNotFound
from tests.unit.raft.cluster import ELECTION_MS, Cluster, payload, until

Scenario = Callable[[Cluster], Awaitable[None]]


def run(directory: Path, scenario: Scenario, size: int = 3, **settings: object) -> None:
    async def body() -> None:
        async with Cluster(directory, size, **settings) as cluster:
            await scenario(cluster)

    asyncio.run(body())


def test_without_tick_advance_the_first_election_waits_a_full_timeout(tmp_path: Path) -> None:
    async def body() -> None:
        begun = asyncio.get_running_loop().time()
        async with Cluster(tmp_path, 3, first_election_soon=False) as cluster:
            await cluster.leader()
            assert asyncio.get_running_loop().time() - begun >= ELECTION_MS / 1000

    asyncio.run(body())


def test_a_proposal_is_applied_on_every_member(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        assert await leader.propose(b"one") == 1
        assert await cluster.equal() == ["one"]

    run(tmp_path, scenario)


def test_a_follower_forwards_and_answers_after_its_own_apply(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for follower in await cluster.followers():
            assert await follower.propose(b"x") == len(
                cluster.machines[follower.member_id].payloads
            )
        assert await cluster.equal() == ["x", "x"]

    run(tmp_path, scenario)


def test_a_proposal_of_a_generation_waits_until_every_member_knows_it(
    tmp_path: Path,
) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.leader()
        assert all(node.can_apply(1) for node in cluster.nodes.values())
        await cluster.kill(3)
        cluster.settings["features"] = 0
        await cluster.start(3)
        await until(lambda: not cluster.nodes[1].can_apply(1))
        # A member that is down counts by the release it ran last.
        await cluster.kill(3)
        assert not cluster.nodes[1].can_apply(1)
        cluster.settings["features"] = 1
        await cluster.start(3)
        await until(lambda: cluster.nodes[1].can_apply(1))

    run(tmp_path, scenario, features=1)


def test_proposals_of_one_moment_share_an_entry_and_keep_their_order(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        for node in (leader, (await cluster.followers())[0]):
            # (A machine that stood still for an election timeout has another leader: once more.)
            for _ in range(5):
                before, term = leader.commit_index, leader.term
                results = await asyncio.gather(*(node.propose(payload(i)) for i in range(500)))
                assert results == sorted(results)
                if leader.term == term:
                    break
            assert leader.commit_index == before + 1

    run(tmp_path, scenario)


def test_an_entry_is_cut_where_it_is_full(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        before = leader.commit_index
        big = b"x" * (proposals_module.ENTRY_BYTES // 2 + 1)
        huge = b"y" * (3 * proposals_module.ENTRY_BYTES)
        await asyncio.gather(*(leader.propose(one) for one in (big, big, huge, b"z", b"z")))
        assert leader.commit_index == before + 4

    run(tmp_path, scenario)


def test_a_single_member_commits_alone_and_at_once(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = cluster.nodes[1]
        async with asyncio.timeout(ELECTION_MS / 1000 / 2):
            assert await node.propose(b"one") == 1
            await node.read_index()
        assert node.is_leader and node.leader_id == 1

    run(tmp_path, scenario, size=1)


def test_a_single_member_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for number in range(5):
            await cluster.nodes[1].propose(payload(number))
        await cluster.kill(1)
        node = await cluster.start(1)
        assert await node.propose(b"5") == 6
        assert cluster.machines[1].payloads == ["0", "1", "2", "3", "4", "5"]

    run(tmp_path, scenario, size=1)


def test_writes_go_on_after_the_leader_is_gone_without_an_error(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        survivor = (await cluster.followers())[0]
        await survivor.propose(b"before")
        futures = [survivor.propose(payload(number)) for number in range(50)]
        await cluster.kill(leader.member_id)
        futures += [survivor.propose(payload(number)) for number in range(50, 100)]
        await asyncio.gather(*futures)
        applied = (await cluster.equal())[1:]
        assert sorted(applied, key=int) == [str(number) for number in range(100)]

    run(tmp_path, scenario)


def test_a_killed_leader_is_replaced_sooner_than_by_its_silence(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        survivor = (await cluster.followers())[0]
        await cluster.kill(leader.member_id)
        async with asyncio.timeout(2.5):
            await survivor.propose(b"after")

    run(tmp_path, scenario, election_ms=3000, heartbeat_ms=300)


def test_a_member_that_returns_does_not_depose_the_leader(tmp_path: Path) -> None:
    """PreVote: its term does not rise while it is alone."""

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        lonely = (await cluster.followers())[0]
        term = leader.term
        cluster.isolate(lonely.member_id)
        await leader.propose(b"one")
        await until(lambda: not lonely._core._campaign.timer.hears_leader(lonely.clock.now()))
        await asyncio.sleep(3 * ELECTION_MS / 1000)  # it tries to be elected meanwhile
        assert lonely.term == term
        cluster.heal()
        assert await lonely.propose(b"two") == 2
        assert (leader.is_leader, leader.term) == (True, term)

    run(tmp_path, scenario)


def test_a_restarted_member_does_not_depose_the_leader(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        term = leader.term
        other = (await cluster.followers())[0].member_id
        await cluster.kill(other)
        node = await cluster.start(other)
        await node.propose(b"one")
        assert (leader.is_leader, leader.term) == (True, term)

    run(tmp_path, scenario)


def test_an_isolated_leader_steps_down_and_follows_when_it_returns(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        cluster.isolate(old.member_id)
        stranded = old.propose(b"stranded")
        await until(lambda: not old.is_leader)
        new = await cluster.leader()
        assert new is not old
        await new.propose(b"one")
        cluster.heal()
        await stranded
        applied = await cluster.equal()
        assert sorted(applied) == ["one", "stranded"], "neither lost nor applied twice"

    run(tmp_path, scenario)


def test_a_stale_leader_serves_no_linearizable_read(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        await old.propose(b"one")
        cluster.isolate(old.member_id)
        read = old.read_index()
        new = await cluster.leader()
        await new.propose(b"two")
        assert not read.done()
        cluster.heal()
        await read
        assert cluster.machines[old.member_id].payloads[:2] == ["one", "two"]

    run(tmp_path, scenario)


def test_a_read_on_any_member_sees_what_was_acknowledged_before(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.leader()
        for number in range(60):
            writer = cluster.nodes[1 + number % 3]
            await writer.propose(payload(number))
            for reader in cluster.nodes.values():
                await reader.read_index()
                applied = cluster.machines[reader.member_id].payloads
                assert applied[-1] == str(number)

    run(tmp_path, scenario)


def test_reads_do_not_grow_the_log(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        before = leader.driver.journal.last_index
        for node in cluster.nodes.values():
            await asyncio.gather(*(node.read_index() for _ in range(50)))
        assert leader.driver.journal.last_index == before

    run(tmp_path, scenario)


def test_what_a_broken_connection_swallowed_is_applied_once(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        futures = []
        for number in range(30):
            futures.append(follower.propose(payload(number)))
            await asyncio.sleep(0.002)
            if number % 7 == 3:
                follower.driver.peers.break_off(leader.member_id, "the test cuts it")
        await asyncio.gather(*futures)
        applied = await cluster.equal()
        assert sorted(applied, key=int) == [str(number) for number in range(30)]

    run(tmp_path, scenario)


def test_a_frame_lost_on_the_way_to_the_leader_is_sent_again_on_a_new_connection(
    tmp_path: Path,
) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        link = (follower.member_id, leader.member_id)
        cluster.cut.add(link)
        future = follower.propose(b"lost")
        await asyncio.sleep(0.05)
        assert not future.done()
        cluster.heal()
        follower.driver.peers.break_off(leader.member_id, "the test cuts it")
        assert await future == 1
        assert await cluster.equal() == ["lost"]

    run(tmp_path, scenario)


def test_a_restarted_follower_may_propose_in_the_same_term_at_once(tmp_path: Path) -> None:
    """Its numbers begin anew: the leader must not take them for duplicates."""

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        term = leader.term
        member = (await cluster.followers())[0].member_id
        for number in range(8):
            node = cluster.nodes[member]
            async with asyncio.timeout(3):
                await node.propose(payload(number))
            await cluster.kill(member)
            await cluster.start(member)
        assert leader.term == term
        assert len(await cluster.equal()) == 8

    run(tmp_path, scenario)


def test_without_a_quorum_proposals_and_reads_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rusd.raft.config.RaftConfig.request_timeout", 0.6)

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        cluster.isolate(leader.member_id)
        for future in (leader.propose(b"x"), leader.read_index()):
            with pytest.raises(Refusal) as caught:
                await future
            assert isinstance(caught.value, RequestTimeout | LeaderFailed)

    run(tmp_path, scenario)


def test_too_many_waiting_proposals_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals_module, "MAX_WAITING", 10)

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        futures = [leader.propose(payload(number)) for number in range(11)]
        with pytest.raises(Refusal) as caught:
            await futures[-1]
        assert isinstance(caught.value, TooManyProposals)
        await asyncio.gather(*futures[:-1])

    run(tmp_path, scenario)


def test_leadership_can_be_handed_to_a_member(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        for _ in range(3):
            leader = await cluster.leader()
            target = (await cluster.followers())[0]
            writes = [leader.propose(payload(number)) for number in range(20)]
            await leader.transfer_leadership(target.member_id)
            assert (await cluster.leader()) is target
            await asyncio.gather(*writes)
        assert len(await cluster.equal()) == 60

    run(tmp_path, scenario)


def test_only_the_leader_hands_on_and_only_to_members(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        with pytest.raises(Refusal) as caught:
            await follower.transfer_leadership(leader.member_id)
        assert isinstance(caught.value, NotLeader)
        with pytest.raises(Refusal) as caught:
            await leader.transfer_leadership(99)
        assert isinstance(caught.value, BadTransferee)

    run(tmp_path, scenario)


def test_a_member_that_stops_hands_leadership_on_first(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = cluster.nodes.pop((await cluster.leader()).member_id)
        term = leader.term
        await leader.stop()
        assert all(node.leader_id not in (0, leader.member_id) for node in cluster.nodes.values())
        assert all(node.term == term + 1 for node in cluster.nodes.values())
        cluster.machines[leader.member_id].close()

    run(tmp_path, scenario, election_ms=5000, heartbeat_ms=100)


def test_waiters_are_notified_when_the_node_stops(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        cluster.isolate(leader.member_id)
        futures: list[asyncio.Future[object]] = [leader.propose(b"x"), leader.read_index()]
        await cluster.kill(leader.member_id)
        for future in [*futures, leader.propose(b"y"), leader.read_index()]:
            with pytest.raises(Refusal) as caught:
                await future
            assert isinstance(caught.value, Stopped)

    run(tmp_path, scenario)


def test_a_transfer_that_another_member_wins_has_failed(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        target, third = await cluster.followers()
        cluster.isolate(target.member_id)
        transfer = asyncio.ensure_future(leader.transfer_leadership(target.member_id))
        leader.driver._send_one(third.member_id, TimeoutNow(leader.term))
        with pytest.raises(Refusal) as refused:
            await transfer
        assert isinstance(refused.value, TransferTimeout)
        assert third.is_leader

    run(tmp_path, scenario)


def test_listeners_learn_of_leader_and_term(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        heard: list[tuple[int, int, bool]] = []
        follower.on_role(lambda *role: heard.append(role))
        await leader.transfer_leadership(follower.member_id)
        await until(lambda: heard and heard[-1] == (follower.member_id, follower.term, True))

    run(tmp_path, scenario)


def test_a_failing_machine_ends_the_node_loudly(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = cluster.nodes[1]
        await node.propose(b"one")

        def fail(entries: object) -> list[object]:
            raise OSError("disk")

        cluster.machines[1].apply = fail  # type: ignore[method-assign]
        future = node.propose(b"two")
        with pytest.raises(OSError, match="disk"):
            await node.wait_failed()
        with pytest.raises(Refusal) as caught:
            await future
        assert isinstance(caught.value, Stopped)

    run(tmp_path, scenario, size=1)


def test_an_exception_as_result_reaches_only_the_proposer(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = cluster.nodes[1]
        apply = cluster.machines[1].apply
        cluster.machines[1].apply = lambda entries: [  # type: ignore[method-assign]
            LeaseNotFound() if result else result for result in apply(entries)
        ]
        with pytest.raises(Refusal) as caught:
            await node.propose(b"one")
        assert isinstance(caught.value, LeaseNotFound)

    run(tmp_path, scenario, size=1)


def test_members_answer_each_others_questions(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]

        async def double(member: int, body: bytes) -> bytes:
            if not body:
                raise LeaseNotFound
            return body * 2 + b" for %d" % member

        leader.serve("double", double)
        answer = await follower.ask(leader.member_id, "double", b"ab", 1.0)
        assert answer == b"abab for %d" % follower.member_id
        with pytest.raises(Refusal) as caught:
            await follower.ask(leader.member_id, "double", b"", 1.0)
        assert isinstance(caught.value, AnsweredWithError)
        assert caught.value.text == str(LeaseNotFound())
        cluster.isolate(leader.member_id)
        with pytest.raises(Refusal) as caught:
            await follower.ask(leader.member_id, "double", b"ab", 0.05)
        assert isinstance(caught.value, RequestTimeout)

    run(tmp_path, scenario)


def test_a_member_far_behind_is_sent_the_state_instead_of_the_log(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        behind = (await cluster.followers())[0].member_id
        await cluster.kill(behind)
        for number in range(120):
            await leader.propose(payload(number))
        await until(lambda: leader.driver.journal.first_index > 50)
        node = await cluster.start(behind)
        await until(lambda: cluster.machines[behind].restored == 1)
        assert await node.propose(b"after") == 121
        assert await cluster.equal() == [str(number) for number in range(120)] + ["after"]
        await cluster.kill(behind)
        node = await cluster.start(behind)
        assert await node.propose(b"again") == 122
        assert cluster.machines[behind].restored == 0, "a restart replays nothing"

    run(tmp_path, scenario, snapshot_count=20, catchup_entries=5)


def test_the_log_is_compacted_with_a_margin(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = cluster.nodes[1]
        for number in range(100):
            await node.propose(payload(number))
        journal = node.driver.journal
        await until(lambda: 30 <= node.applied_index - journal.first_index <= 30 + 20)

    run(tmp_path, scenario, size=1, snapshot_count=20, catchup_entries=30)


def test_all_members_restarted_at_once_keep_everything(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        await asyncio.gather(*(leader.propose(payload(number)) for number in range(50)))
        for member in cluster.members:
            await cluster.kill(member)
        for member in cluster.members:
            await cluster.start(member)
        node = await cluster.leader()
        assert await node.propose(b"50") == 51
        assert await cluster.equal() == [str(number) for number in range(51)]

    run(tmp_path, scenario)


def test_applied_entries_are_given_in_parts_until_the_log_has_dropped_them(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        for number in range(6):
            await leader.propose(b"%d" % number)
        last = leader.applied_index
        found = leader.committed(last - 5, 100, 1 << 20)
        assert found is not None
        assert [index for _, index, _ in found] == list(range(last - 4, last + 1))
        assert [decode_entry(command)[0][2] for command, _, _ in found] == [
            b"1",
            b"2",
            b"3",
            b"4",
            b"5",
        ]
        assert leader.committed(last - 5, 2, 1 << 20) == found[:2]
        assert leader.committed(last - 5, 100, 1) == found[:1], "one that is larger comes alone"
        assert leader.committed(last - 5, 100, 2 * len(found[0][0])) == found[:2]
        assert not leader.committed(last, 100, 1 << 20)
        assert not leader.committed(last + 9, 100, 1 << 20)
        leader.driver.journal.compact(last - 2)
        assert leader.committed(last - 3, 100, 1 << 20) == found[2:]
        assert leader.committed(last - 4, 100, 1 << 20) is None

    run(tmp_path, scenario, size=1)


def test_a_stand_in_is_no_applied_entry(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        for number in range(3):
            await leader.propose(b"%d" % number)
        last, journal = leader.applied_index, leader.driver.journal
        entry = journal.entries(last, last + 1)[0]
        journal.clear()
        for index in (last - 2, last - 1):
            journal.add(STAND_IN, index, 1)
        journal.add(*entry)
        journal.flush()
        assert leader.committed(last - 3, 100, 1 << 20) is None
        assert leader.committed(last - 2, 100, 1 << 20) is None
        assert leader.committed(last - 1, 100, 1 << 20) == [entry]

    run(tmp_path, scenario, size=1)
