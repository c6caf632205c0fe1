"""Three members, of which some die: nothing acknowledged is lost, and writing goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.local import LocalCluster
from tests.support.client import Client, Refused
from tests.support.load import Writers, increment, revision_of, wait_applied
from tests.support.pair import SUBJECT, command

#: Seconds in which writes resume after the leader was killed, at default timeouts.
RESUMES_WITHIN = 3.0


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


def hashes(cluster: LocalCluster, revision: int) -> set[int]:
    """HashKV of every member at one revision."""
    found = set()
    for endpoint in cluster.endpoints:
        with Client(endpoint) as client:
            wait_applied(client, revision)
            found.add(client.hash_kv(revision).hash)
    return found


def test_killing_the_leader_again_and_again_loses_no_acknowledged_write(
    cluster: LocalCluster,
) -> None:
    with Writers(cluster.endpoints) as writers:
        for _ in range(3):
            writers.wait_for(100)
            leader = cluster.leader()
            killed = time.monotonic()
            cluster.kill(leader)
            writers.wait_for(50)
            assert writers.gap_after(killed + 0.05) < RESUMES_WITHIN
            assert writers.longest_gap(killed) < RESUMES_WITHIN
            cluster.restart(leader)
            cluster.wait_healthy()
    revision = revision_of(cluster.endpoints[0])
    writers.check(cluster.endpoints, revision)
    assert len(hashes(cluster, revision)) == 1


def test_a_counter_is_incremented_once_for_each_acknowledged_compare_and_swap(
    cluster: LocalCluster,
) -> None:
    stop = threading.Event()
    outcomes: list[bool | None] = []

    def count(endpoint: str) -> None:
        with Client(endpoint) as client:
            while not stop.is_set():
                outcomes.append(increment(client, b"counter"))

    def at_least(wanted: int) -> Callable[[], bool]:
        return lambda: outcomes.count(True) >= wanted

    threads = [threading.Thread(target=count, args=(each,)) for each in cluster.endpoints]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wait_until(at_least(outcomes.count(True) + 40))
            leader = cluster.leader()
            cluster.kill(leader)
            wait_until(at_least(outcomes.count(True) + 20))
            cluster.restart(leader)
            cluster.wait_healthy()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    with Client(cluster.endpoints[0]) as client:
        value = int(client.range(b"counter").kvs[0].value)
    acknowledged, unknown = outcomes.count(True), outcomes.count(None)
    assert acknowledged <= value <= acknowledged + unknown


def wait_until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killing_all_members_at_once_loses_no_acknowledged_write(cluster: LocalCluster) -> None:
    with Writers(cluster.endpoints) as writers:
        writers.wait_for(500)
        for index in range(3):
            cluster.kill(index)
    for index in range(3):
        cluster.restart(index)
    cluster.wait_healthy()
    revision = revision_of(cluster.endpoints[0])
    writers.check(cluster.endpoints, revision)
    assert len(hashes(cluster, revision)) == 1


def test_a_linearizable_read_is_never_stale_while_leaders_change(cluster: LocalCluster) -> None:
    """A read that starts after a write was acknowledged sees that write or a later one."""
    stop = threading.Event()
    newest = [0]
    stale: list[tuple[int, int]] = []
    reads = [0]

    def write() -> None:
        clients = [Client(endpoint) for endpoint in cluster.endpoints]
        n = 0
        while not stop.is_set():
            n += 1
            try:
                clients[n % 3].put(b"register", b"%d" % n, timeout=2)
            except Refused:
                continue
            newest[0] = n
        for client in clients:
            client.close()

    def read(endpoint: str) -> None:
        with Client(endpoint) as client:
            while not stop.is_set():
                before = newest[0]
                try:
                    kvs = client.range(b"register", timeout=2).kvs
                except Refused:
                    continue
                reads[0] += 1
                seen = int(kvs[0].value) if kvs else 0
                if seen < before:
                    stale.append((before, seen))

    def at_least(wanted: int) -> Callable[[], bool]:
        return lambda: reads[0] >= wanted

    threads = [threading.Thread(target=write)]
    threads += [threading.Thread(target=read, args=(each,)) for each in cluster.endpoints]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wait_until(at_least(reads[0] + 100))
            leader = cluster.leader()
            cluster.pause(leader)
            wait_until(at_least(reads[0] + 100))
            cluster.resume(leader)
            wait_until(at_least(reads[0] + 100))
            cluster.kill(leader := cluster.leader())
            wait_until(at_least(reads[0] + 100))
            cluster.restart(leader)
            cluster.wait_healthy()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert stale == []


def test_leases_survive_a_restart_and_a_change_of_leader(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        lease = client.grant(600, 77).ID
        client.put(b"leased", b"1", lease=lease)
        cluster.kill(leader := cluster.leader())
        survivor = next(n for n in range(3) if n != leader)
    with Client(cluster.endpoints[survivor]) as client:
        cluster.wait_leader()
        left = client.time_to_live(lease, keys=True)
        assert 590 < left.TTL <= 602 and left.grantedTTL == 600
        assert list(left.keys) == [b"leased"]
    cluster.restart(leader)
    cluster.wait_healthy()
    for index in range(3):
        cluster.stop(index)
    for index in range(3):
        cluster.restart(index)
    cluster.wait_healthy()
    with Client(cluster.endpoints[leader]) as client:
        assert client.range(b"leased").kvs[0].lease == lease
        assert client.time_to_live(lease).grantedTTL == 600
        client.revoke(lease)
        assert client.range(b"leased").count == 0


def test_a_lease_expires_under_a_new_leader_and_not_before_its_time(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        client.grant(3, 5)
        client.put(b"ephemeral", b"", lease=5)
    granted = time.monotonic()
    leader = cluster.leader()
    cluster.kill(leader)
    survivor = next(n for n in range(3) if n != leader)
    with Client(cluster.endpoints[survivor]) as client, client.watch() as stream:
        cluster.wait_leader()
        stream.create(b"ephemeral", start_revision=1)
        deleted = next(event for _, event in stream.events() if event.type == event.DELETE)
        assert deleted.kv.key == b"ephemeral"
        assert time.monotonic() - granted >= 3


def test_sigterm_ends_a_member_with_exit_code_0(cluster: LocalCluster) -> None:
    assert [cluster.stop(index) for index in range(3)] == [0, 0, 0]
