"""Each member is a single process, which remembers what the member has said before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster
from tests.cluster.test_membership import once_allowed, serves, wait_until
from tests.support.client import Client, Refused
from tests.support.http import alive
from tests.support.pair import SUBJECT, command

BOOTSTRAPPED = "has already been bootstrapped"
KEY = b"acknowledged"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


def lose_disk(cluster: LocalCluster, index: int) -> None:
    cluster.members[index].dismiss()
    shutil.rmtree(cluster.members[index].data_dir)


def start(cluster: LocalCluster, *indexes: int) -> None:
    for index in indexes:
        cluster.restart(index)


def logs(cluster: LocalCluster, index: int) -> str:
    return cluster.members[index].log_of_this_run()


def identity(cluster: LocalCluster, index: int) -> str:
    """A member's id as its peers log it."""
    with Client(cluster.endpoints[index]) as client:
        return f"{client.status().header.member_id:x}"


def meetings(cluster: LocalCluster, index: int, member: str) -> int:
    """Return how often a member has connected to another since its last start."""
    return sum(
        "peer connected" in line and member in line for line in logs(cluster, index).splitlines()
    )


def follower(cluster: LocalCluster) -> int:
    return (cluster.leader() + 1) % 3


def written(cluster: LocalCluster, index: int) -> None:
    with Client(cluster.endpoints[index]) as client:
        for n in range(20):
            client.put(b"key/%d" % n, b"v")
        client.put(KEY, b"v")


def holds(cluster: LocalCluster, index: int) -> bool:
    if not serves(cluster.endpoints[index]):
        return False
    with Client(cluster.endpoints[index]) as client:
        return len(client.range(KEY).kvs) == 1


def acknowledged_by_two(cluster: LocalCluster) -> tuple[int, int, int]:
    """(a, b, c): a led and b acknowledged what c has not; all three are killed then."""
    c = follower(cluster)
    a, b = cluster.leader(), 3 - c - cluster.leader()
    cluster.kill(c)
    written(cluster, a)
    cluster.kill_all()
    return a, b, c


def forced_alone(cluster: LocalCluster) -> None:
    """Member 0 goes on alone (`--force-new-cluster`), after all were killed."""
    written(cluster, 0)
    cluster.kill_all()
    cluster.set_flags(0, ["--force-new-cluster"])
    start(cluster, 0)
    wait_until(lambda: serves(cluster.endpoints[0]))


def end_as_removed(cluster: LocalCluster, *indexes: int) -> None:
    for each in indexes:
        assert cluster.members[each].wait(30) == 1
        assert "permanently removed" in logs(cluster, each)


def test_a_member_that_lost_its_disk_does_not_elect_a_leader_without_what_it_acknowledged(
    cluster: LocalCluster,
) -> None:
    a, b, c = acknowledged_by_two(cluster)
    lose_disk(cluster, b)
    start(cluster, c)
    start(cluster, b)
    assert cluster.members[b].wait(30) == 1
    assert BOOTSTRAPPED in logs(cluster, b)
    start(cluster, b)
    assert cluster.members[b].wait(30) == 1, "at its second start too"
    cluster.members[b].dismiss()
    start(cluster, a)
    wait_until(lambda: holds(cluster, a) and holds(cluster, c))


def test_it_is_refused_as_well_by_one_that_starts_after_it(cluster: LocalCluster) -> None:
    _, b, c = acknowledged_by_two(cluster)
    lose_disk(cluster, b)
    start(cluster, b)
    wait_until(lambda: "ready to serve" in logs(cluster, b) or "starting" in logs(cluster, b))
    start(cluster, c)
    assert cluster.members[b].wait(30) == 1
    assert BOOTSTRAPPED in logs(cluster, b)


def test_with_existing_it_counts_for_nothing_until_a_leader_of_the_others_brought_it_up_to_date(
    cluster: LocalCluster,
) -> None:
    a, b, c = acknowledged_by_two(cluster)
    lose_disk(cluster, b)
    cluster.set_flags(b, ["--initial-cluster-state=existing"])
    start(cluster, c)
    wait_until(lambda: alive(cluster.members[c].metrics_url))
    start(cluster, b)
    wait_until(lambda: "peer connected" in logs(cluster, b))
    with pytest.raises(Refused), Client(cluster.endpoints[c]) as client:
        client.put(b"k", b"v", timeout=4)
    start(cluster, a)
    wait_until(lambda: all(holds(cluster, each) for each in (a, b, c)))
    wait_until(lambda: "caught up and takes part" in logs(cluster, b))
    cluster.kill(c)
    with Client(cluster.endpoints[a]) as client:
        client.put(b"k", b"v")


def test_an_older_copy_of_a_data_directory_does_not_vote(cluster: LocalCluster) -> None:
    c = follower(cluster)
    a, b = cluster.leader(), 3 - c - cluster.leader()
    member = identity(cluster, b)
    cluster.stop(b)
    copy = cluster.members[b].data_dir.with_name("copy")
    shutil.copytree(cluster.members[b].data_dir, copy)
    met = meetings(cluster, c, member)
    start(cluster, b)
    # What c has not met it cannot remember.
    wait_until(lambda: meetings(cluster, c, member) > met)
    cluster.wait_healthy()
    cluster.kill(c)
    written(cluster, cluster.leader())
    cluster.kill_all()
    shutil.rmtree(cluster.members[b].data_dir)
    copy.rename(cluster.members[b].data_dir)
    start(cluster, b, c)
    wait_until(lambda: "holds less than this member has acknowledged" in logs(cluster, b))
    with pytest.raises(Refused), Client(cluster.endpoints[c]) as client:
        client.put(b"k", b"v", timeout=4)
    start(cluster, a)
    wait_until(lambda: all(holds(cluster, each) for each in (a, b, c)))
    wait_until(lambda: "caught up and takes part" in logs(cluster, b))


def test_of_two_processes_of_one_member_only_that_at_its_address_counts_and_both_sides_say_so(
    cluster: LocalCluster,
) -> None:
    with Client(cluster.endpoints[0]) as client:
        ids = sorted((m.ID, int(m.name.rpartition("-")[2]) - 1) for m in client.members().members)
    lowest, middle, highest = (index for _, index in ids)
    # It dials the lowest; the highest dials the member itself.
    cluster.stop(middle)
    twin = cluster.new_member()
    shutil.copytree(cluster.members[middle].data_dir, cluster.members[twin].data_dir)
    start(cluster, middle)
    cluster.wait_healthy()
    written(cluster, cluster.leader())
    start(cluster, twin)
    why = "the member's peer URLs do not confirm its connection"
    wait_until(lambda: all(why in logs(cluster, each) for each in (lowest, twin)))
    cluster.kill(middle)
    cluster.kill(highest)
    with pytest.raises(Refused), Client(cluster.endpoints[lowest]) as client:
        client.put(b"k", b"v", timeout=4)


def test_members_left_behind_by_a_forced_new_cluster_end_when_they_are_started(
    cluster: LocalCluster,
) -> None:
    forced_alone(cluster)
    for each in (1, 2):
        cluster.members[each].dismiss()
    start(cluster, 1, 2)
    end_as_removed(cluster, 1, 2)
    for each in (1, 2):
        assert '"leads":true' not in logs(cluster, each)


def test_those_that_could_not_reach_it_end_once_they_can(cluster: LocalCluster) -> None:
    forced_alone(cluster)
    cluster.kill(0)
    start(cluster, 1, 2)
    wait_until(lambda: serves(cluster.endpoints[1]))
    for each in (1, 2):
        cluster.members[each].dismiss()
    cluster.set_flags(0, [])
    start(cluster, 0)
    end_as_removed(cluster, 1, 2)


def test_a_new_cluster_starts_whatever_the_order_and_a_member_may_come_late() -> None:
    with LocalCluster(3, binary=[command(SUBJECT)]) as cluster:
        cluster.kill_all()
        for each in range(3):
            lose_disk(cluster, each)
        start(cluster, 0)
        wait_until(lambda: alive(cluster.members[0].metrics_url))
        start(cluster, 1)
        wait_until(lambda: serves(cluster.endpoints[0]) and serves(cluster.endpoints[1]))
        written(cluster, 0)
        start(cluster, 2)
        wait_until(lambda: holds(cluster, 2))
        once_allowed(cluster.wait_healthy, Refused("", ""))
