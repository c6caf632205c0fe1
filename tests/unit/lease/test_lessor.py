"""LeaseExpiry and renewal over real state machines, with one member's clock in the test's hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest

from rusd.base.errors import Refusal
from rusd.base.sliced import finish
from rusd.lease import lessor
from rusd.lease.errors import LeaderTimeout, NoLeader
from rusd.lease.lessor import CONFIRMED_PART, Lessor
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.errors import RequestTimeout, TooManyProposals
from rusd.state.command import Kind, encode
from rusd.state.listeners import Listeners
from rusd.state.machine import StateMachine
from rusd.storage import Batch
from tests.unit.support_node import InstantNode, Log

ELECTION = 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Cluster:
    """Two members on one log; member 1 leads."""

    def __init__(self, directory: Path) -> None:
        self.log = Log()
        self.clock = Clock()
        self.machines = {one: StateMachine(directory / str(one)) for one in (1, 2)}
        self.nodes = {one: InstantNode(self.log, one, self.machines[one]) for one in (1, 2)}
        self.lessors = {
            one: Lessor(self.nodes[one], self.machines[one].leases, ELECTION, self.clock)
            for one in (1, 2)
        }
        for one, each in self.lessors.items():
            self.machines[one].listen(Listeners(leases=each))
            self.nodes[one].on_role(each.role_changed)
        self.log.elect(1)

    async def propose(self, kind: Kind, body: bytes) -> None:
        await self.nodes[1].propose(encode(kind, body))

    async def grant(self, lease_id: int, ttl: int) -> None:
        request = rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl)
        await self.propose(Kind.LEASE_GRANT, request.SerializeToString())

    async def put(self, key: bytes, lease: int) -> None:
        request = rpc.PutRequest(key=key, lease=lease)
        await self.propose(Kind.PUT, request.SerializeToString())

    def advance(self, seconds: float) -> None:
        """Let time pass and give every member's loop a turn."""
        self.clock.now += seconds
        for each in self.lessors.values():
            finish(each.tick())

    def leases(self, member: int = 1) -> set[int]:
        return {lease.id for lease in self.machines[member].leases}


Scenario = Callable[[Cluster], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            cluster = Cluster(tmp_path)
            try:
                async with asyncio.timeout(20):
                    await scenario(cluster)
            finally:
                for machine in cluster.machines.values():
                    machine.close()

        asyncio.run(main())

    return run


Run = Callable[[Scenario], None]


async def remaining(cluster: Cluster, member: int, lease_id: int) -> rpc.LeaseTimeToLiveResponse:
    request = rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
    return rpc.LeaseTimeToLiveResponse.FromString(
        await cluster.lessors[member].time_to_live(request)
    )


def test_a_lease_that_ran_out_is_removed_with_its_keys_on_every_member(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        await cluster.put(b"k", 7)
        cluster.advance(9.9)
        assert cluster.leases() == {7}
        cluster.advance(0.1)
        for member in (1, 2):
            assert cluster.leases(member) == set()
            assert cluster.machines[member].store.get(b"k") is None

    run(scenario)


def test_only_the_leader_looks_at_the_clock(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.log.payloads.clear()
        cluster.clock.now += 100
        finish(cluster.lessors[2].tick())
        assert cluster.log.payloads == []

    run(scenario)


@pytest.mark.parametrize("member", [1, 2])
def test_a_renewal_at_any_member_prolongs_the_lease(run: Run, member: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.advance(9)
        assert await cluster.lessors[member].renew(7) == 10
        cluster.advance(9)
        assert cluster.leases() == {7}
        cluster.advance(1)
        assert cluster.leases() == set()

    run(scenario)


@pytest.mark.parametrize("member", [1, 2])
def test_an_unknown_lease_renews_to_zero(run: Run, member: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert await cluster.lessors[member].renew(7) == 0

    run(scenario)


def test_renewing_an_expired_lease_waits_for_its_end(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.clock.now += 11
        renewal = asyncio.ensure_future(cluster.lessors[2].renew(7))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not renewal.done()
        cluster.advance(0)
        assert await renewal == 0

    run(scenario)


def test_a_renewal_of_a_lease_that_cannot_be_revoked_is_given_up_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CORRUPT alarm refuses the end of every lease."""
    monkeypatch.setattr(lessor, "ATTEMPT", 0.01)

    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        alarm = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=1, alarm=rpc.CORRUPT)
        await cluster.propose(Kind.ALARM, alarm.SerializeToString())
        cluster.advance(11)
        assert cluster.leases() == {7}
        for member in (1, 2):
            renewal = asyncio.ensure_future(cluster.lessors[member].renew(7))
            while not cluster.lessors[1]._waiting:
                await asyncio.sleep(0)
            cluster.clock.now += 8
            with pytest.raises(LeaderTimeout):
                await renewal
            assert not cluster.lessors[1]._waiting

    run(scenario)


@pytest.mark.parametrize("member", [1, 2])
def test_a_list_of_keys_that_takes_longer_than_an_attempt_is_made_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, member: int
) -> None:
    monkeypatch.setattr(lessor, "ATTEMPT", 0.01)
    monkeypatch.setattr(lessor, "_keys_field", slow := SlowKeys())

    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        await cluster.put(b"k", 7)
        assert (await remaining(cluster, member, 7)).keys == [b"k"]
        assert slow.made == 1

    run(scenario)


class SlowKeys:
    """Lists keys for five attempts' time."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, keys: list[bytes]) -> Generator[None, None, bytes]:
        self.made += 1
        end = time.monotonic() + 5 * lessor.ATTEMPT
        while time.monotonic() < end:
            yield
        return rpc.LeaseTimeToLiveResponse(keys=keys).SerializeToString()


def test_a_new_leader_gives_every_lease_its_time_again(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.advance(9)
        cluster.log.elect(2)
        cluster.advance(10.9)
        assert cluster.leases() == {7}
        cluster.advance(0.1)
        assert cluster.leases() == set()

    run(scenario)


def test_an_expired_lease_whose_leader_fell_is_renewed_by_the_next(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.clock.now += 11
        renewal = asyncio.ensure_future(cluster.lessors[1].renew(7))
        for _ in range(20):
            await asyncio.sleep(0)
        cluster.log.elect(2)
        assert await renewal == 10

    run(scenario)


def test_what_an_earlier_leader_found_expired_is_not_revoked_later(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        await cluster.put(b"k", 7)
        cluster.log.payloads.clear()
        cluster.advance(10)
        (late,) = cluster.log.payloads
        await cluster.grant(7, 10)
        cluster.log.elect(2)
        with pytest.raises(Refusal):
            await cluster.nodes[1].propose(late)
        assert cluster.leases() == {7}

    run(scenario)


def test_no_leader_for_an_election_timeout_is_an_error(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.log.elect(0)
        renewal = asyncio.ensure_future(cluster.lessors[2].renew(7))
        await asyncio.sleep(0)
        cluster.clock.now += ELECTION + 0.1
        with pytest.raises(Refusal) as refused:
            await renewal
        assert isinstance(refused.value, NoLeader)

    run(scenario)


def test_a_leader_that_cannot_confirm_its_lead_renews_nothing(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        cluster.log.failure = RequestTimeout
        renewal = asyncio.ensure_future(cluster.lessors[1].renew(7))
        for _ in range(20):
            await asyncio.sleep(0)
        cluster.clock.now += 8
        with pytest.raises(Refusal) as refused:
            await renewal
        assert isinstance(refused.value, LeaderTimeout)
        cluster.log.failure = None
        cluster.advance(2)
        assert cluster.leases() == set()

    run(scenario)


def test_a_leader_confirmed_a_moment_ago_renews_without_a_quorum(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader, follower = cluster.lessors[1], cluster.lessors[2]
        await cluster.grant(7, 10)
        assert leader.renew_at_once(7) is None
        assert await leader.renew(7) == 10
        cluster.log.failure = RequestTimeout
        cluster.advance(CONFIRMED_PART * ELECTION / 2)
        assert leader.renew_at_once(7) == 10
        assert await follower.renew(7) == 10
        assert follower.renew_at_once(7) is None
        cluster.advance(CONFIRMED_PART * ELECTION)
        assert leader.renew_at_once(7) is None

    run(scenario)


def test_only_a_known_unexpired_lease_of_the_same_lead_is_renewed_at_once(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = cluster.lessors[1]
        await cluster.grant(7, 10)
        assert await leader.renew(7) == 10
        assert leader.renew_at_once(8) is None
        cluster.log.unapplied = 1
        assert leader.renew_at_once(7) is None
        cluster.log.unapplied = 0
        assert leader.renew_at_once(7) == 10
        cluster.log.elect(2)
        cluster.log.elect(1)
        assert leader.renew_at_once(7) is None

    run(scenario)


def test_an_expired_lease_is_never_renewed_at_once(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = cluster.lessors[1]
        await cluster.grant(7, 10)
        cluster.clock.now += 10 - CONFIRMED_PART * ELECTION / 2
        assert await leader.renew(8) == 0  # confirmed, and the other lease keeps its deadline
        cluster.clock.now += CONFIRMED_PART * ELECTION / 2
        assert cluster.leases() == {7}
        assert leader.renew_at_once(7) is None

    run(scenario)


def test_a_confirmation_counts_from_its_question(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = cluster.lessors[1]
        await cluster.grant(7, 10)
        barrier = cluster.log.barrier = asyncio.get_running_loop().create_future()
        renewal = asyncio.ensure_future(leader.renew(7))
        await asyncio.sleep(0)
        cluster.advance(CONFIRMED_PART * ELECTION)
        barrier.set_result(None)
        assert await renewal == 10
        assert leader.renew_at_once(7) is None

    run(scenario)


@pytest.mark.parametrize("member", [1, 2])
def test_the_time_to_live_is_the_leaders_in_whole_seconds(run: Run, member: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.grant(7, 10)
        await cluster.put(b"b", 7)
        await cluster.put(b"a", 7)
        cluster.clock.now += 3.5
        found = await remaining(cluster, member, 7)
        assert (found.ID, found.TTL, found.grantedTTL) == (7, 6, 10)
        assert sorted(found.keys) == [b"a", b"b"]
        unknown = await remaining(cluster, member, 8)
        assert (unknown.ID, unknown.TTL, unknown.grantedTTL) == (8, -1, 0)

    run(scenario)


def test_a_lease_that_a_long_apply_has_not_told_of_yet_has_its_full_time_to_live(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.machines[1].leases.grant(Batch(), 7, 10)
        found = await remaining(cluster, 1, 7)
        assert (found.ID, found.TTL, found.grantedTTL) == (7, 10, 10)

    run(scenario)


def test_leases_are_listed_soonest_first_where_that_is_known(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        for lease_id, ttl in ((1, 30), (2, 10), (3, 20)):
            await cluster.grant(lease_id, ttl)
        assert finish(cluster.lessors[1].ids_by_expiry()) == [2, 3, 1]
        assert finish(cluster.lessors[2].ids_by_expiry()) == [1, 2, 3]

    run(scenario)


def test_at_most_half_a_second_worth_of_revocations_is_proposed_at_once(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        for lease_id in range(1, 601):
            await cluster.grant(lease_id, 10)
        cluster.advance(11)
        assert len(cluster.leases()) == 100
        cluster.advance(0.5)
        assert cluster.leases() == set()

    run(scenario)


def test_refused_ends_of_many_leases_are_one_line_in_the_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(cluster: Cluster) -> None:
        for lease_id in range(1, 601):
            await cluster.grant(lease_id, 10)
        cluster.log.failure = TooManyProposals
        for _ in range(8):
            cluster.advance(0.5 + 10)
            await asyncio.sleep(0)
        lines = [one for one in caplog.records if "failed to revoke leases" in one.message]
        assert len(lines) == 8  # more than ten seconds lie between them
        lines.clear()
        caplog.clear()
        for _ in range(8):
            cluster.advance(0.5)
            await asyncio.sleep(0)
        assert len([one for one in caplog.records if "revoke" in one.message]) <= 1

    run(scenario)
