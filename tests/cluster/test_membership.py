"""Members come and go while the cluster works: MemberAdd, Remove, Update, Promote."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.local import LocalCluster
from tests.support.changes import UNHEALTHY, once_allowed
from tests.support.client import Client, Refused
from tests.support.load import Readers, Writers, revision_of, wait_applied
from tests.support.pair import SUBJECT, command

NOT_READY = Refused(
    "FAILED_PRECONDITION",
    "etcdserver: can only promote a learner member which is in sync with leader",
)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


@pytest.fixture
def single() -> Iterator[LocalCluster]:
    with LocalCluster(1, binary=[command(SUBJECT)], flags=["--snapshot-count=100"]) as running:
        yield running


def add(cluster: LocalCluster, client: Client, *, learner: bool = False) -> tuple[int, int]:
    """Add and start a member; return its index and id."""
    index = cluster.new_member()
    url = cluster.members[index].peer_url
    added = once_allowed(lambda: client.member_add(url, learner=learner), UNHEALTHY)
    cluster.start_all()
    return index, added.member.ID


def remove(cluster: LocalCluster, client: Client, index: int) -> None:
    """Remove a member that runs, and see it end in peace."""
    member = id_of(cluster, client, index)
    cluster.dismiss(index)
    once_allowed(lambda: client.member_remove(member), UNHEALTHY)
    assert cluster.members[index].wait(15) == 0, cluster.members[index].log_tail()


def id_of(cluster: LocalCluster, client: Client, index: int) -> int:
    url = cluster.members[index].peer_url
    return next(m.ID for m in client.members().members if url in m.peerURLs)


def wait_until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def lead(cluster: LocalCluster, index: int) -> None:
    """Move leadership to a member; again if another one wins the election, on a busy machine."""
    with Client(cluster.endpoints[index]) as client:
        member = client.status().header.member_id

    def leads() -> bool:
        leader = cluster.leader()
        if leader != index:
            with contextlib.suppress(Refused), Client(cluster.endpoints[leader]) as client:
                client.move_leader(member)
        return leader == index

    wait_until(leads)


def serves(endpoint: str) -> bool:
    """Return whether a member answers linearizable reads."""
    with Client(endpoint) as client:
        try:
            return bool(client.range(b"x", timeout=1.0).header.revision)
        except Refused:
            return False


def test_a_cluster_grows_and_shrinks_under_load_without_a_refused_read(
    single: LocalCluster,
) -> None:
    cluster = single
    endpoints = list(cluster.endpoints)
    with (
        Client(endpoints[0]) as client,
        Writers(endpoints) as writers,
        Readers(list(endpoints), writers) as readers,
    ):
        for _ in range(4):
            writers.wait_for(200)
            index, _ = add(cluster, client)
            endpoint = cluster.members[index].endpoint
            wait_until(lambda endpoint=endpoint: serves(endpoint))
            readers.endpoints.append(endpoint)
        for index in (3, 1):
            writers.wait_for(200)
            readers.endpoints.remove(cluster.members[index].endpoint)
            wait_until(lambda before=readers.count: readers.count > before + 4)
            remove(cluster, client, index)
        before = readers.count
        wait_until(lambda: readers.count > before + 50)
    assert readers.failures == []
    left = [cluster.members[index].endpoint for index in (0, 2, 4)]
    writers.check(left, revision_of(left[0]))


def test_a_leader_that_is_removed_hands_over_and_ends(cluster: LocalCluster) -> None:
    with Writers(cluster.endpoints) as writers:
        writers.wait_for(100)
        leader = cluster.leader()
        others = [one for one in range(3) if one != leader]
        with Client(cluster.endpoints[leader]) as client:
            wait_until(lambda: serves(cluster.endpoints[leader]))
            started = time.monotonic()
            remove(cluster, client, leader)
        writers.wait_for(100)
        assert writers.longest_gap(started) < 6.5  # members must be connected for 5 s
    left = [cluster.endpoints[one] for one in others]
    assert cluster.leader() in others
    writers.check(left, revision_of(left[0]))


def test_a_member_that_was_removed_while_it_was_down_ends_when_it_comes_back(
    cluster: LocalCluster,
) -> None:
    gone = (cluster.leader() + 1) % 3
    with Client(cluster.endpoints[cluster.leader()]) as client:
        member = id_of(cluster, client, gone)
        cluster.kill(gone)
        once_allowed(lambda: client.member_remove(member), UNHEALTHY)
        cluster.restart(gone)
        cluster.dismiss(gone)
        # Others say so, not its own log: a failure, as etcd's is.
        assert cluster.members[gone].wait(20) == 1
        assert "permanently removed from the cluster" in cluster.members[gone].log_of_this_run()
        assert len(client.members().members) == 2


def test_a_removed_member_does_not_start_again(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    gone = (leader + 1) % 3
    with Client(cluster.endpoints[leader]) as client:
        remove(cluster, client, gone)
    cluster.restart(gone)
    cluster.dismiss(gone)
    assert cluster.members[gone].wait(15) == 0


def test_a_learner_follows_without_a_vote_until_it_is_promoted(single: LocalCluster) -> None:
    cluster = single
    with Client(cluster.endpoints[0]) as client:
        index, learner = add(cluster, client, learner=True)
        endpoint = cluster.members[index].endpoint
        with Client(endpoint) as other:
            wait_applied(other, client.put(b"k", b"v").header.revision)
            assert other.status().isLearner
            assert other.range(b"k", serializable=True).kvs[0].value == b"v"
            with pytest.raises(Refused, match="rpc not supported for learner"):
                other.range(b"k")
            with pytest.raises(Refused, match="rpc not supported for learner"):
                other.put(b"k", b"w")
            # It has no vote: the only voter goes on alone.
            cluster.pause(index)
            client.put(b"k", b"w")
            cluster.resume(index)
            once_allowed(lambda: client.member_promote(learner), NOT_READY)
            wait_until(lambda: serves(endpoint))
            assert not other.status().isLearner
            assert other.put(b"k", b"x").header.revision > 0
        assert not any(m.isLearner for m in client.members().members)


def test_a_learner_that_does_not_follow_cannot_be_promoted(single: LocalCluster) -> None:
    cluster = single
    with Client(cluster.endpoints[0]) as client:
        index = cluster.new_member()
        url = cluster.members[index].peer_url
        added = once_allowed(lambda: client.member_add(url, learner=True), UNHEALTHY)
        with pytest.raises(Refused) as error:
            client.member_promote(added.member.ID)
        assert error.value == NOT_READY


def test_a_follower_promotes_a_learner_through_the_leader(cluster: LocalCluster) -> None:
    follower = (cluster.leader() + 1) % 3
    with Client(cluster.endpoints[follower]) as client:
        index, learner = add(cluster, client, learner=True)
        once_allowed(lambda: client.member_promote(learner), NOT_READY)
        wait_until(lambda: serves(cluster.members[index].endpoint))
        assert len([m for m in client.members().members if not m.isLearner]) == 4


def test_a_second_learner_is_one_too_many(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        add(cluster, client, learner=True)
        with pytest.raises(Refused, match="too many learner members in cluster"):
            once_allowed(lambda: client.member_add("http://127.0.0.1:1", learner=True), UNHEALTHY)


def test_a_member_killed_while_it_joins_joins_when_it_comes_back(single: LocalCluster) -> None:
    cluster = single
    with Client(cluster.endpoints[0]) as client:
        for n in range(1000):
            client.put(b"key/%d" % n, b"v" * 1000)
        index, learner = add(cluster, client, learner=True)
        member = cluster.members[index]
        for _ in range(8):
            wait_until(lambda: member.data_dir.joinpath("member").exists())
            cluster.kill(index)
            cluster.start_all()
        revision = client.put(b"k", b"v").header.revision
        with Client(member.endpoint) as other:
            wait_applied(other, revision)
            once_allowed(lambda: client.member_promote(learner), NOT_READY)
            wait_until(lambda: serves(member.endpoint))
            assert other.hash_kv(revision).hash == client.hash_kv(revision).hash


def test_a_member_is_reached_by_its_new_peer_url(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    moved = (leader + 1) % 3
    with Client(cluster.endpoints[leader]) as client:
        member = id_of(cluster, client, moved)
        cluster.stop(moved)
        spare = cluster.new_member()
        url = cluster.members[spare].peer_url
        cluster.dismiss(spare)
        client.member_update(member, url)
        cluster.members[moved].peer_url = url
        cluster.start_all()
        wait_until(lambda: serves(cluster.endpoints[moved]))
        assert [list(m.peerURLs) for m in client.members().members if member == m.ID] == [[url]]


def test_five_members_of_which_one_is_dead_add_a_learner_and_a_voter() -> None:
    with LocalCluster(5, binary=[command(SUBJECT)]) as cluster:
        leader = cluster.leader()
        others = [index for index in range(5) if index != leader]
        with Client(cluster.endpoints[leader]) as client:
            cluster.kill(others[0])
            add(cluster, client, learner=True)
            cluster.kill(others[1])
            # Three of five still write, but would not be a quorum of six.
            client.put(b"k", b"v")
            for learner in (True, False):
                with pytest.raises(Refused) as error:
                    client.member_add("http://127.0.0.1:1", learner=learner)
                assert error.value == UNHEALTHY
            cluster.restart(others[1])
            add(cluster, client)
            wait_until(lambda: all(m.name for m in client.members().members))


def test_strictly_no_member_is_removed_whose_loss_would_stop_the_cluster(
    cluster: LocalCluster,
) -> None:
    leader = cluster.leader()
    with Client(cluster.endpoints[leader]) as client:
        cluster.kill((leader + 1) % 3)
        alive = id_of(cluster, client, (leader + 2) % 3)
        with pytest.raises(Refused) as error:
            client.member_remove(alive)
        assert error.value == UNHEALTHY


def test_without_the_strict_check_it_is_removed(etcd_binary: list[str]) -> None:
    flags = ["--strict-reconfig-check=false"]
    with LocalCluster(3, binary=[command(SUBJECT)], flags=flags) as cluster:
        leader = cluster.leader()
        with Client(cluster.endpoints[leader]) as client:
            for other in {0, 1, 2} - {leader}:
                member = id_of(cluster, client, other)
                cluster.dismiss(other)
                client.member_remove(member)
            assert serves(cluster.endpoints[leader])
            assert len(client.members().members) == 1


def test_a_member_goes_on_alone_when_the_majority_is_lost_and_others_may_join(
    cluster: LocalCluster,
) -> None:
    with Writers(cluster.endpoints) as writers:
        writers.wait_for(200)
    revision = revision_of(cluster.endpoints[0])
    for index in range(3):
        with Client(cluster.endpoints[index]) as client:
            wait_applied(client, revision)
    with Client(cluster.endpoints[0]) as client:
        before = client.members().header
    cluster.kill_all()
    cluster.dismiss(1)
    cluster.dismiss(2)
    cluster.set_flags(0, ["--force-new-cluster"])
    cluster.start_all()
    cluster.wait_healthy()
    writers.check(cluster.endpoints[:1], revision)
    with Client(cluster.endpoints[0]) as client:
        found = client.members()
        assert [m.ID for m in found.members] == [before.member_id]
        assert found.header.cluster_id == before.cluster_id
    cluster.set_flags(0, [])
    cluster.restart(0)
    cluster.wait_healthy()
    with Client(cluster.endpoints[0]) as client:
        index, _ = add(cluster, client)
        wait_until(lambda: serves(cluster.members[index].endpoint))
        assert client.put(b"k", b"v").header.revision > revision


def test_a_start_that_forces_a_new_cluster_may_be_killed_and_repeated(
    cluster: LocalCluster,
) -> None:
    with Client(cluster.endpoints[0]) as client:
        for n in range(50):
            client.put(b"key/%d" % n, b"v")
        revision = client.put(b"k", b"v").header.revision
    cluster.kill_all()
    cluster.dismiss(1)
    cluster.dismiss(2)
    cluster.set_flags(0, ["--force-new-cluster"])
    member = cluster.members[0]
    for _ in range(5):
        cluster.start_all()
        wait_until(lambda: "forced a new cluster" in member.log_of_this_run())
        cluster.kill(0)
    cluster.set_flags(0, [])
    cluster.start_all()
    cluster.wait_healthy()
    with Client(cluster.endpoints[0]) as client:
        assert client.range(b"k").kvs[0].mod_revision == revision
        assert len(client.members().members) == 1


def test_a_member_that_fell_behind_follows_a_leader_that_joined_meanwhile() -> None:
    """Its own state does not name the leader yet, nor after the first changes it is sent."""
    with LocalCluster(3, flags=["--strict-reconfig-check=false"]) as cluster:
        _falls_behind(cluster)


def _falls_behind(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    away = (leader + 1) % 3
    with Client(cluster.endpoints[leader]) as client:
        cluster.kill(away)
        url = "http://127.0.0.1:1"
        passing = client.member_add(url, learner=True).member.ID
        client.member_remove(passing)
        new = cluster.new_member()
        added = client.member_add(cluster.members[new].peer_url, learner=True).member.ID
        cluster.restart(new)
        once_allowed(lambda: client.member_promote(added), NOT_READY)
        wait_until(lambda: serves(cluster.members[new].endpoint))
    lead(cluster, new)
    cluster.restart(away)
    wait_until(lambda: serves(cluster.endpoints[away]))
    assert cluster.leader() == new
    assert cluster.members[new].running


def test_a_url_that_is_none_leaves_only_its_member_unreachable(cluster: LocalCluster) -> None:
    """etcd takes any text in MemberUpdate; members that look for a leader ask there too."""
    leader = cluster.leader()
    odd, asking = (leader + 1) % 3, (leader + 2) % 3
    with Client(cluster.endpoints[leader]) as client:
        member = id_of(cluster, client, odd)
        for url in ("http://127.0.0.1:99999", "http://[::1:2380", f"http://{'a' * 70}:1"):
            client.member_update(member, url)
            cluster.kill(odd)
            cluster.restart(odd)
        cluster.kill(leader)
    # Nobody leads for a while, so that those that are left ask around.
    time.sleep(5)
    assert cluster.members[asking].running and cluster.members[odd].running
    cluster.restart(leader)
    wait_until(lambda: serves(cluster.endpoints[asking]))
    with Client(cluster.endpoints[asking]) as client:
        client.member_update(member, cluster.members[odd].peer_url)
    wait_until(lambda: serves(cluster.endpoints[odd]))
