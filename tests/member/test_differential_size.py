"""dbSize, dbSizeInUse and the quota mean to a user of rusd what they mean to one of etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, SUBJECT, command

DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment"
#: Seconds for etcd to commit what its size is to show.
SETTLES = 15.0


@pytest.fixture
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Client, Client]]:
    """A client of rusd and one of etcd."""
    flags = getattr(request, "param", [])
    with ExitStack() as stack:
        clients = []
        for binary in (SUBJECT, ORACLE):
            cluster = stack.enter_context(LocalCluster(1, binary=[command(binary)], flags=flags))
            clients.append(stack.enter_context(Client(cluster.endpoints[0])))
        yield clients[0], clients[1]


def put_many(client: Client, first: int, last: int, value: int, at_once: int) -> None:
    for start in range(first, last, at_once):
        puts = [
            rpc.RequestOp(request_put=rpc.PutRequest(key=b"key/%06d" % n, value=bytes(value)))
            for n in range(start, min(start + at_once, last))
        ]
        client.txn(rpc.TxnRequest(success=puts))


def ratios(both: tuple[Client, Client]) -> tuple[float, float]:
    """rusd's dbSize and dbSizeInUse, divided by etcd's."""
    mine, theirs = (client.status() for client in both)
    return mine.dbSize / theirs.dbSize, mine.dbSizeInUse / theirs.dbSizeInUse


def assert_near(both: tuple[Client, Client], least_in_use: float = 0.8) -> None:
    deadline = time.monotonic() + SETTLES
    while True:
        allocated, in_use = ratios(both)
        if 0.8 <= allocated <= 1.3 and least_in_use <= in_use <= 1.3:
            return
        assert time.monotonic() < deadline, (allocated, in_use)
        time.sleep(0.1)


@pytest.mark.parametrize(("value", "count"), [(20, 20_000), (300, 20_000), (5000, 1000)])
def test_the_sizes_are_near_etcds_whatever_is_done(
    both: tuple[Client, Client], value: int, count: int
) -> None:
    assert all(client.status().dbSize > 0 for client in both)

    def each(*steps: tuple[int, int]) -> None:
        for client in both:
            for first, last in steps:
                put_many(client, first, last, value, 50)

    each((0, count))
    assert_near(both)
    each((0, count // 2), (0, count // 4))
    assert_near(both)
    for client in both:
        client.compact(client.range(b"x").header.revision, physical=True)
    # Only defragmentation fills etcd's pages again.
    assert_near(both, least_in_use=0.6)
    for client in both:
        client.call(DEFRAGMENT, rpc.DefragmentRequest(), rpc.DefragmentResponse)
    assert_near(both)
    for client in both:
        client.delete(b"key/", b"key0")
    assert_near(both)


@pytest.mark.parametrize("both", [["--quota-backend-bytes=4194304"]], indirect=True)
def test_a_quota_holds_as_much_as_etcds(both: tuple[Client, Client]) -> None:
    held = []
    for client in both:
        count = 0
        with pytest.raises(Refused, match="etcdserver: mvcc: database space exceeded"):
            while True:
                put_many(client, count, count + 1, 300, 1)
                count += 1
        held.append(count)
    assert 0.8 < held[0] / held[1] < 1.3


@pytest.mark.parametrize("both", [["--quota-backend-bytes=4194304"]], indirect=True)
def test_a_full_quota_is_emptied_as_etcds_is(both: tuple[Client, Client]) -> None:
    for client in both:
        with pytest.raises(Refused, match="space exceeded"):
            while True:
                put_many(client, 0, 10, 1000, 10)
        client.compact(client.range(b"x").header.revision, physical=True)
        assert client.status().dbSize > 3_500_000, "nothing is given back before"
        client.call(DEFRAGMENT, rpc.DefragmentRequest(), rpc.DefragmentResponse)
        assert client.status().dbSize < 1_000_000
        disarm = rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, alarm=rpc.NOSPACE)
        disarm.memberID = client.status().header.member_id
        client.call("/etcdserverpb.Maintenance/Alarm", disarm, rpc.AlarmResponse)
        client.put(b"k", b"v")
