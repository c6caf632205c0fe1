"""Sliced work of every room: the same as at once, and no slice with more than its share."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rusd.base import sliced
from rusd.base.sliced import SORTED, Meter, finish, ordered
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode
from tests.unit.api.kv_bench import Bench


@given(st.lists(st.binary(max_size=2), max_size=50), st.integers(1, 7))
def test_a_sliced_sort_is_a_sort(items: list[bytes], size: int) -> None:
    before, sliced.SORTED = sliced.SORTED, size
    try:
        assert finish(ordered(items)) == sorted(items)
    finally:
        sliced.SORTED = before


def test_a_meter_ends_a_slice_when_it_is_full() -> None:
    meter = Meter()
    passed = [meter.passed(Meter.SLICE // 4) for _ in range(8)]
    assert passed == [False, False, False, True] * 2


def test_many_leases_and_their_keys_are_listed_in_slices(tmp_path: Path) -> None:
    many = 3 * SORTED + 7

    async def scenario() -> None:
        bench = Bench(tmp_path / "state")
        try:
            grants = [
                encode(Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=n, TTL=60).SerializeToString())
                for n in range(1, many + 1)
            ]
            puts = [
                encode(Kind.PUT, rpc.PutRequest(key=b"%05d" % n, lease=7).SerializeToString())
                for n in range(many)
            ]
            for payload in (*grants, *puts):
                bench.log.commit(1, payload)
            listed = bench.lessor.ids_by_expiry()
            assert sum(1 for _ in listed) >= 2 * many // SORTED
            found = await bench.call("LeaseLeases", rpc.LeaseLeasesRequest())
            assert [one.ID for one in found.leases] == list(range(1, many + 1))
            asked = rpc.LeaseTimeToLiveRequest(ID=7, keys=True)
            lease = await bench.call("LeaseTimeToLive", asked)
            assert list(lease.keys) == [b"%05d" % n for n in range(many)]
        finally:
            bench.machine.close()

    asyncio.run(scenario())
