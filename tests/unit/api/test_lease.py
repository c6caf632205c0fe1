"""The Lease service from decoded request to encoded answer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rusd.api.lease import minimum_ttl
from rusd.auth.records import Access, Permission, Session, User
from rusd.base.sliced import finish
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.errors import RequestTimeout
from rusd.rpc import errors
from tests.unit.api.kv_bench import Bench
from tests.unit.auth.recording import Recorded

Scenario = Callable[[Bench], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a scenario on a bench of its own, made with the given options."""

    def run(scenario: Scenario, **options: Any) -> None:
        async def main() -> None:
            bench = Bench(tmp_path / "state", **options)
            try:
                await scenario(bench)
            finally:
                bench.machine.close()

        asyncio.run(main())

    return run


def answers(messages: list[bytes]) -> list[tuple[int, int]]:
    decoded = [rpc.LeaseKeepAliveResponse.FromString(one) for one in messages]
    return [(one.ID, one.TTL) for one in decoded]


def test_an_id_is_chosen_for_a_client_that_chose_none(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.call("LeaseGrant", rpc.LeaseGrantRequest(TTL=60))
        second = await bench.call("LeaseGrant", rpc.LeaseGrantRequest(TTL=60))
        assert first.ID > 0 < second.ID != first.ID
        assert first.header.cluster_id == 9

    run(scenario)


@pytest.mark.parametrize("wanted", [1, 0, -3])
def test_a_short_ttl_is_raised_to_the_minimum(run: Run, wanted: int) -> None:
    async def scenario(bench: Bench) -> None:
        response = await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=wanted))
        assert (response.ID, response.TTL) == (7, 2)
        proposed = rpc.LeaseGrantRequest.FromString(bench.log.payloads[0][1:])
        assert proposed.TTL == 2

    run(scenario)


def test_the_minimum_is_one_and_a_half_election_timeouts_in_whole_seconds() -> None:
    assert [minimum_ttl(one) for one in (0.1, 1.0, 2.0, 5.0)] == [1, 2, 3, 8]


def test_grant_and_revoke_are_refused_as_etcd_does(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=60))
        for name, request, error in (
            ("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=60), errors.LEASE_EXISTS),
            ("LeaseGrant", rpc.LeaseGrantRequest(TTL=9_000_000_001), errors.LEASE_TTL_TOO_LARGE),
            ("LeaseRevoke", rpc.LeaseRevokeRequest(ID=8), errors.LEASE_NOT_FOUND),
            ("LeaseRevoke", rpc.LeaseRevokeRequest(ID=0), errors.LEASE_NOT_FOUND),
        ):
            assert await bench.refusal(name, request) == error()

    run(scenario)


def test_a_grant_counts_against_the_quota(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        bench.size = 1950
        request = rpc.LeaseGrantRequest(TTL=60)
        assert await bench.refusal("LeaseGrant", request) == errors.NO_SPACE()

    run(scenario, quota=2000)


def test_a_revoke_deletes_the_keys_and_answers_with_that_revision(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=60))
        await bench.call("Put", rpc.PutRequest(key=b"k", lease=7))
        response = await bench.call("LeaseRevoke", rpc.LeaseRevokeRequest(ID=7))
        assert response.header.revision == 3
        assert bench.machine.store.get(b"k") is None

    run(scenario)


def test_the_time_to_live_lists_keys_when_asked(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=60))
        await bench.call("Put", rpc.PutRequest(key=b"k", lease=7))
        bench.clock.now += 10.5
        plain = await bench.call("LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=7))
        assert (plain.ID, plain.TTL, plain.grantedTTL, list(plain.keys)) == (7, 49, 60, [])
        full = await bench.call("LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=7, keys=True))
        assert list(full.keys) == [b"k"]
        assert full.header.revision == 2

    run(scenario)


def test_an_unknown_lease_has_minus_one_second_to_live(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        response = await bench.call("LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=5))
        assert (response.ID, response.TTL, response.grantedTTL) == (5, -1, 0)

    run(scenario)


def test_leases_are_listed_locally_soonest_first(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        for lease_id, ttl in ((1, 30), (2, 10), (3, 20)):
            await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl))
        bench.log.failure = RequestTimeout
        response = await bench.call("LeaseLeases", rpc.LeaseLeasesRequest())
        assert [one.ID for one in response.leases] == [2, 3, 1]

    run(scenario)


def test_renewals_are_answered_in_order_and_unknown_leases_with_zero(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        for lease_id in (1, 2):
            await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=lease_id, TTL=10 * lease_id))
        stream = bench.open("LeaseKeepAlive")
        for lease_id in (2, 9, 1):
            stream.handler.received(rpc.LeaseKeepAliveRequest(ID=lease_id))
        await stream.responses.until(3)
        assert answers(stream.responses.messages) == [(2, 20), (9, 0), (1, 10)]
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        await stream.responses.until(4)
        header = rpc.LeaseKeepAliveResponse.FromString(stream.responses.messages[3]).header
        assert (header.cluster_id, header.revision) == (9, 1)
        stream.handler.half_closed()
        assert (stream.responses.ended, stream.responses.error) == (True, None)

    run(scenario)


def test_a_half_closed_stream_still_answers_what_it_was_asked(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=1, TTL=10))
        stream = bench.open("LeaseKeepAlive")
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        stream.handler.half_closed()
        assert not stream.responses.ended
        await stream.responses.until_end()
        assert answers(stream.responses.messages) == [(1, 10)]

    run(scenario)


def test_the_header_of_a_renewal_is_not_newer_than_the_renewal(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=1, TTL=10))
        bench.log.barrier = asyncio.get_running_loop().create_future()
        stream = bench.open("LeaseKeepAlive")
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        for _ in range(5):
            await asyncio.sleep(0)
        await bench.call("Put", rpc.PutRequest(key=b"k"))
        bench.log.barrier.set_result(None)
        await stream.responses.until(1)
        header = rpc.LeaseKeepAliveResponse.FromString(stream.responses.messages[0]).header
        assert header.revision == 1

    run(scenario)


def test_an_error_ends_the_stream_of_renewals(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        stream = bench.open("LeaseKeepAlive")
        bench.log.elect(0)
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        await asyncio.sleep(0)
        bench.clock.now += 2.0
        await stream.responses.until_end()
        assert stream.responses.error == errors.NO_LEADER()

    run(scenario)


def test_a_full_outlet_holds_renewals_back(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=1, TTL=10))
        stream = bench.open("LeaseKeepAlive")
        stream.responses.full = True
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.responses.messages == []
        stream.responses.full = False
        stream.handler.drained()
        await stream.responses.until(1)
        assert answers(stream.responses.messages) == [(1, 10)]

    run(scenario)


def test_a_closed_stream_renews_nothing_more(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=1, TTL=10))
        stream = bench.open("LeaseKeepAlive")
        bench.clock.now += 5
        stream.handler.received(rpc.LeaseKeepAliveRequest(ID=1))
        stream.handler.closed()
        for _ in range(20):
            await asyncio.sleep(0)
        bench.clock.now += 5
        finish(bench.lessor.tick())
        assert bench.machine.leases.get(1) is None

    run(scenario)


def test_a_call_that_wants_a_leader_is_refused_without_one(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        bench.log.elect(0)
        for name, request in (
            ("LeaseGrant", rpc.LeaseGrantRequest(TTL=5)),
            ("LeaseRevoke", rpc.LeaseRevokeRequest(ID=5)),
            ("LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=5)),
            ("LeaseLeases", rpc.LeaseLeasesRequest()),
        ):
            assert await bench.refusal(name, request, hasleader="true") == errors.NO_LEADER()
        with pytest.raises(errors.EtcdError) as refused:
            bench.open("LeaseKeepAlive", hasleader="true")
        assert refused.value == errors.NO_LEADER()

    run(scenario)


def test_keys_that_only_the_leader_knows_are_not_shown_without_permission(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that is behind sees a lease without keys; the answer is the leader's."""

    async def scenario(bench: Bench) -> None:
        await bench.call("LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=60))
        auth, records = bench.machine.auth, Recorded()
        auth.add_user(records, User("root", b"", ("root",)))
        auth.add_user(records, User("u"))
        auth.add_role(records, "r")
        auth.grant_role(records, "u", "r")
        auth.grant_permission(records, "r", Permission(Access.READ, b"mine"))
        auth.enable(records)
        tokens = {}
        for user in ("root", "u"):
            session = Session(user, user.ljust(16, "x"), 0)
            bench.tokens.assign(session)
            tokens[user] = session.token
        keys = [b"mine"]

        async def of_leader(request: rpc.LeaseTimeToLiveRequest) -> bytes:
            return rpc.LeaseTimeToLiveResponse(ID=7, keys=keys).SerializeToString()

        monkeypatch.setattr(bench.lessor, "time_to_live", of_leader)
        request = rpc.LeaseTimeToLiveRequest(ID=7, keys=True)
        assert (await bench.call("LeaseTimeToLive", request, token=tokens["u"])).keys == keys
        keys.append(b"secret")
        refusal = await bench.refusal("LeaseTimeToLive", request, token=tokens["u"])
        assert refusal == errors.PERMISSION_DENIED()
        assert (await bench.call("LeaseTimeToLive", request, token=tokens["root"])).keys == keys

    run(scenario)
