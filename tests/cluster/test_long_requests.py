"""Long requests: others are served meanwhile, no leader is lost, nothing stays half done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.bench.fill import PREFIX, PREFIX_END, TXNS_AT_ONCE, fill, key
from tests.bench.pipeline import run as send_all
from tests.support.client import Client, Refused
from tests.support.load import wait_applied
from tests.support.pair import SUBJECT, command

#: Seconds that long work may take on a machine that is busy with much else.
LONG = 300.0

pytestmark = pytest.mark.timeout(2 * LONG)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


class Others:
    """Clients of one member that ask again and again; what the slowest call of each took."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._stop = threading.Event()
        self.calls: dict[str, list[float]] = {}
        self.errors: list[Refused] = []
        self._threads = [
            threading.Thread(target=self._repeat, args=one)
            for one in (
                ("serializable", lambda client, n: client.range(b"other", serializable=True)),
                ("linearizable", lambda client, n: client.range(b"other", timeout=LONG)),
                ("put", lambda client, n: client.put(b"other", b"%d" % n, timeout=LONG)),
            )
        ]

    def _repeat(self, name: str, call: Callable[[Client, int], object]) -> None:
        took = self.calls.setdefault(name, [])
        with Client(self._endpoint) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    call(client, len(took))
                except Refused as error:
                    # What waits behind long work may wait too long, as in etcd.
                    if error.message != "etcdserver: request timed out":
                        self.errors.append(error)
                took.append(time.monotonic() - began)

    def wait_for(self, calls: int) -> None:
        """Wait until every client has this many responses."""
        deadline = time.monotonic() + LONG
        while len(self.calls) < 3 or min(map(len, self.calls.values())) < calls:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        self.wait_for(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def the_same_leader(cluster: LocalCluster) -> Iterator[str]:
    """The leader's endpoint; it leads in the same term at the end."""
    endpoint = cluster.endpoints[cluster.leader()]
    with Client(endpoint) as client:
        before = client.status()
        yield endpoint
        after = client.status()
    assert (after.leader, after.raftTerm) == (before.leader, before.raftTerm)


def equal_hashes(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        revision = client.range(b"x").header.revision
    hashes = set()
    for endpoint in cluster.endpoints:
        with Client(endpoint) as client:
            wait_applied(client, revision)
            hashes.add(client.hash_kv(revision).hash)
    assert len(hashes) == 1


def delete_all(client: Client) -> int:
    request = rpc.DeleteRangeRequest(key=PREFIX, range_end=PREFIX_END)
    path = "/etcdserverpb.KV/DeleteRange"
    return client.call(path, request, rpc.DeleteRangeResponse, LONG).deleted


def count(client: Client) -> int:
    return client.range(PREFIX, PREFIX_END, count_only=True, timeout=LONG).count


def test_deleting_300_000_keys_at_once_delays_no_other_call(cluster: LocalCluster) -> None:
    keys = 300_000
    fill(cluster.endpoints[cluster.leader()], 0, keys)
    with the_same_leader(cluster) as endpoint, Client(endpoint) as client:
        with Others(endpoint) as others:
            before = len(others.calls["serializable"])
            assert delete_all(client) == keys
            during = others.calls["serializable"][before:]
            others.wait_for(len(others.calls["put"]) + 3)
        assert count(client) == 0
    assert not others.errors
    # In one piece it would have been one or two, the longest as long as all of it.
    assert len(during) > 20
    assert max(during) < sum(during) / 3
    equal_hashes(cluster)


def test_a_lease_of_30_000_keys_that_runs_out_costs_no_leader_its_post(
    cluster: LocalCluster,
) -> None:
    keys = 30_000
    with the_same_leader(cluster) as endpoint, Client(endpoint) as client:
        lease = client.grant(5).ID

        def puts() -> Iterator[bytes]:
            for start in range(0, keys, 100):
                client.keep_alive(lease)
                yield rpc.TxnRequest(
                    success=[
                        rpc.RequestOp(request_put=rpc.PutRequest(key=key(n), lease=lease))
                        for n in range(start, start + 100)
                    ]
                ).SerializeToString()

        send_all(endpoint, "/etcdserverpb.KV/Txn", puts(), TXNS_AT_ONCE)
        assert count(client) == keys
        with Others(endpoint) as others:
            deadline = time.monotonic() + LONG
            while count(client):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            others.wait_for(len(others.calls["put"]) + 3)
    assert not others.errors
    equal_hashes(cluster)


def test_a_serializable_txn_of_many_ranges_is_of_one_revision_and_holds_nobody_up(
    cluster: LocalCluster,
) -> None:
    keys = 30_000
    counting = rpc.RangeRequest(
        key=PREFIX, range_end=PREFIX_END, count_only=True, serializable=True
    )
    request = rpc.TxnRequest(success=[rpc.RequestOp(request_range=counting)] * 128)
    fill(cluster.endpoints[cluster.leader()], 0, keys)
    with the_same_leader(cluster) as endpoint, Client(endpoint) as client:
        with Others(endpoint) as others:
            before = len(others.calls["serializable"]), len(others.calls["put"])
            asking = threading.Thread(target=lambda: [client.put(key(keys + n)) for n in range(20)])
            asking.start()
            response = client.txn(request, timeout=LONG)
            asking.join()
            reads = len(others.calls["serializable"]) - before[0]
            puts = len(others.calls["put"]) - before[1]
        counts = {one.response_range.count for one in response.responses}
        assert len(response.responses) == 128
        assert len(counts) == 1
        assert keys <= counts.pop() <= keys + 20
    assert reads > 20
    assert puts > 5
    assert not others.errors


def test_killed_in_the_midst_of_a_long_deletion_a_member_comes_back_with_all_of_it(
    cluster: LocalCluster,
) -> None:
    keys = 100_000
    leader = cluster.leader()
    endpoint = cluster.endpoints[leader]
    fill(endpoint, 0, keys)

    def delete() -> None:
        with Client(endpoint) as client, pytest.raises(Refused):
            delete_all(client)

    with Client(endpoint) as client:
        deleting = threading.Thread(target=delete)
        deleting.start()
        deadline = time.monotonic() + LONG
        while (status := client.status()).raftAppliedIndex >= status.raftIndex:
            assert time.monotonic() < deadline
        cluster.kill(leader)
    deleting.join()
    cluster.restart(leader)
    cluster.wait_healthy()
    for one in cluster.endpoints:
        with Client(one) as client:
            assert count(client) == 0
    equal_hashes(cluster)
