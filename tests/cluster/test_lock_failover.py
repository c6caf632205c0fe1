"""Lock and Election on a cluster of three: through leader changes, and when clients go away."""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster
from tests.support.client import Client
from tests.support.contention import Observed, Waiting, contend, until

TTL = 600


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as running:
        yield running


def keys(client: Client, name: bytes) -> int:
    return client.range(name + b"/", name + b"0", count_only=True).count


def watchers(cluster: LocalCluster, member: int) -> int:
    url = f"{cluster.members[member].client_url}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        found = re.search(rb"^etcd_debugging_mvcc_watcher_total (\d+)", response.read(), re.M)
    assert found
    return int(found[1])


def test_a_lock_passes_from_one_waiter_to_the_next_when_the_leader_is_killed_in_between(
    cluster: LocalCluster,
) -> None:
    leader = cluster.leader()
    followers = [number for number in range(3) if number != leader]
    clients = [Client(cluster.endpoints[number]) for number in followers]
    here = clients[0]
    leases = [here.grant(TTL, 100 + number).ID for number in range(6)]
    held = contend(here, "lock", name=b"l", lease=leases[0])
    won = contend(here, "campaign", name=b"e", lease=leases[0], value=b"0").leader
    observed = Observed(clients[1], b"e")
    assert observed.next().kv.value == b"0"  # type: ignore[union-attr]
    waiting = []
    for number, lease in enumerate(leases[1:], 1):
        client = clients[number % 2]
        waiting.append(
            (
                Waiting(client, "lock", name=b"l", lease=lease),
                Waiting(client, "campaign", name=b"e", lease=lease, value=b"%d" % number),
            )
        )
        until(lambda count=number + 1: keys(here, b"l") == keys(here, b"e") == count)
    cluster.kill(leader)
    # Calls that wait know nothing of it; calls that come now wait for the next leader.
    for number, (lock, campaign) in enumerate(waiting, 1):
        assert not any(one.done() for pair in waiting[number - 1 :] for one in pair)
        unlocking = threading.Thread(
            target=contend, args=(here, "unlock"), kwargs={"key": held.key}
        )
        unlocking.start()
        contend(clients[1], "resign", leader=won)
        unlocking.join()
        held, won = lock.result(), campaign.result().leader
        assert held.key == b"l/%x" % leases[number]
        value = b""
        while value != b"%d" % number:
            value = observed.next().kv.value  # type: ignore[union-attr]
    observed.cancel()
    for lease in leases:
        here.revoke(lease)
    assert keys(here, b"l") == keys(here, b"e") == 0
    for number in followers:
        until(lambda number=number: watchers(cluster, number) == 0)
    for client in clients:
        client.close()
    cluster.restart(leader)
    cluster.wait_healthy()


@pytest.mark.parametrize("method", ["lock", "campaign"])
def test_waiters_whose_connection_is_gone_leave_no_key_lease_or_watcher(
    cluster: LocalCluster, method: str
) -> None:
    follower = next(number for number in range(3) if number != cluster.leader())
    with Client(cluster.endpoints[follower]) as staying:
        lease = staying.grant(TTL, 300).ID
        contend(staying, method, name=b"g", lease=lease)
        leaving = Client(cluster.endpoints[follower])
        given = staying.grant(TTL, 301).ID
        calls = [Waiting(leaving, method, name=b"g", lease=given)]
        calls += [Waiting(leaving, method, name=b"g") for _ in range(20)]
        observed = Observed(leaving, b"g")
        assert observed.next() is not None
        until(lambda: keys(staying, b"g") == 22)
        until(lambda: watchers(cluster, follower) == 22)
        leaving.close()
        until(lambda: keys(staying, b"g") == 1)
        until(lambda: watchers(cluster, follower) == 0)
        until(lambda: {one.ID for one in staying.leases().leases} == {lease, given})
        for one in (lease, given):
            staying.revoke(one)
        assert not any(call.done() and call.succeeded() for call in calls)


def test_a_waiter_that_is_cancelled_without_a_quorum_deletes_its_key_once_there_is_one(
    cluster: LocalCluster,
) -> None:
    leader = cluster.leader()
    followers = [number for number in range(3) if number != leader]
    with Client(cluster.endpoints[leader]) as client:
        first, second = client.grant(TTL, 400).ID, client.grant(TTL, 401).ID
        contend(client, "lock", name=b"n", lease=first)
        waiting = Waiting(client, "lock", name=b"n", lease=second)
        until(lambda: keys(client, b"n") == 2)
        for number in followers:
            cluster.pause(number)
        waiting.cancel()
        for number in followers:
            cluster.resume(number)
        cluster.wait_healthy()
        until(lambda: keys(client, b"n") == 1)
        client.revoke(first)
        client.revoke(second)
