"""What the fixtures promise to a test. They come from the installed plugin, as in any project.

test_options.py runs this file on real etcd as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cluster.testing.accounts import Login
from cluster.testing.servers import Cluster
from tests.plugin.calls import call, keys, put
from tests.support.pair import command
from tests.support.waiting import wait

REVISIONS: list[int] = []


def leave_one_of_everything(server: Cluster) -> None:
    put(server, "kept")
    lease = call(server, "lease/grant", TTL=600)["ID"]
    put(server, "leased", lease=lease)
    call(server, "lease/grant", TTL=600)
    call(server, "maintenance/alarm", action="ACTIVATE", memberID=1, alarm="NOSPACE")
    call(server, "auth/role/add", name="reader")
    call(server, "auth/user/add", name="alice", password="a")
    call(server, "auth/user/add", name="root", password="root")
    call(server, "auth/user/grant", user="root", role="root")


def assert_empty(server: Cluster) -> None:
    assert keys(server) == []
    assert "leases" not in call(server, "lease/leases")
    assert "alarms" not in call(server, "maintenance/alarm", action="GET")
    assert "users" not in call(server, "auth/user/list")
    assert "roles" not in call(server, "auth/role/list")


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_test_begins_with_an_empty_store_whatever_the_last_one_left(
    etcd: Cluster, turn: str
) -> None:
    assert_empty(etcd)
    REVISIONS.append(put(etcd, turn))
    leave_one_of_everything(etcd)


def test_revisions_go_on_from_test_to_test(etcd: Cluster) -> None:
    assert put(etcd, "next") > max(REVISIONS, default=0)


def test_authentication_that_the_last_test_enabled_is_off(etcd: Cluster) -> None:
    leave_one_of_everything(etcd)
    call(etcd, "auth/enable")
    pid = etcd.members[0].pid
    etcd.reset()
    assert_empty(etcd)
    # Its password was not known here.
    assert etcd.members[0].pid != pid


def test_a_member_that_the_last_test_killed_or_paused_serves_again(etcd: Cluster) -> None:
    for harm in (etcd.kill, etcd.pause):
        put(etcd, "kept")
        harm(0)
        etcd.reset()
        assert_empty(etcd)


def test_a_member_that_ended_by_itself_serves_again_and_is_reported(etcd: Cluster) -> None:
    os.kill(etcd.members[0].pid, signal.SIGKILL)
    wait(lambda: True if etcd.members[0].ended_by_itself else None, "it runs", 10)
    with pytest.warns(UserWarning, match="a member ended by itself"):
        etcd.reset()
    assert_empty(etcd)


def test_a_store_is_emptied_within_10_ms_of_cpu_time(etcd: Cluster) -> None:
    """Of this process and of the member, which a loaded machine does not change much."""
    stat = Path(f"/proc/{etcd.members[0].pid}/stat")

    def spent() -> float:
        fields = stat.read_text().rpartition(")")[2].split()
        member = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return member + time.process_time()

    def each(rounds: int) -> float:
        before = spent()
        for _ in range(rounds):
            etcd.reset()
        return (spent() - before) / rounds

    put(etcd, "warm")
    etcd.reset()
    assert min(each(20) for _ in range(4)) < 0.010


def test_the_addresses_come_in_the_forms_that_clients_take(etcd: Cluster) -> None:
    assert etcd.endpoints == [etcd.endpoint] == [f"{etcd.host}:{etcd.port}"]
    assert etcd.urls == [etcd.url] == [f"http://{etcd.endpoint}"]
    assert (etcd.tls, etcd.auth) == (None, None)
    with urllib.request.urlopen(f"{etcd.url}/health", timeout=5) as answer:
        assert answer.status == 200


def etcdctl(cluster: Cluster, *arguments: str) -> str:
    environment = {**os.environ, **cluster.env}
    done = subprocess.run(
        [command("etcdctl"), *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_etcdctl_finds_the_member_by_the_environment(etcd: Cluster) -> None:
    etcdctl(etcd, "put", "greeting", "hello")
    assert etcdctl(etcd, "get", "--print-value-only", "greeting") == "hello\n"


def test_with_tls_and_auth_the_environment_and_the_attributes_are_enough(
    etcd_clusters: Any,
) -> None:
    with etcd_clusters(1, tls=True, auth=True) as cluster:
        assert cluster.auth == Login("root", "root")
        assert cluster.url.startswith("https://")
        etcdctl(cluster, "put", "greeting", "hello")
        with pytest.raises(urllib.error.HTTPError):
            keys(cluster)  # without a token
        for _ in range(2):
            cluster.reset()
            token = call(cluster, "auth/authenticate", name="root", password="root")["token"]
            assert keys(cluster, token=token) == []
            assert etcdctl(cluster, "user", "list") == "root\n"


def test_three_members_go_on_without_the_one_that_is_killed(etcd_cluster: Cluster) -> None:
    assert len(etcd_cluster.endpoints) == 3
    leader = etcd_cluster.leader()
    etcd_cluster.kill(leader)
    other = etcd_cluster.leader()
    assert other != leader
    put(etcd_cluster, "after", member=other)
    etcd_cluster.heal()
    assert keys(etcd_cluster, member=leader) == ["after"]


def test_a_partitioned_leader_is_replaced_and_stays_reachable(etcd_cluster: Cluster) -> None:
    assert keys(etcd_cluster) == [], "the last test left a key"
    leader = etcd_cluster.leader()
    etcd_cluster.partition(leader)
    inside = (leader + 1) % 3

    def write() -> int | None:
        try:
            return put(etcd_cluster, "majority", member=inside)
        except (urllib.error.HTTPError, TimeoutError):
            return None  # the old leader is still followed

    wait(write, "the majority never wrote", 30)
    # What the minority answers is of the past.
    assert keys(etcd_cluster, member=leader, serializable=True) == []
    etcd_cluster.heal()
    assert keys(etcd_cluster, member=leader) == ["majority"]


def test_a_paused_member_keeps_its_connections_and_answers_after_heal(
    etcd_cluster: Cluster,
) -> None:
    follower = (etcd_cluster.leader() + 1) % 3
    etcd_cluster.pause(follower)
    put(etcd_cluster, "meanwhile", member=etcd_cluster.leader())
    etcd_cluster.heal()
    assert keys(etcd_cluster, member=follower) == ["meanwhile"]


def test_a_cluster_whose_membership_changed_is_replaced(etcd_clusters: Any) -> None:
    with etcd_clusters(1) as cluster:
        call(cluster, "cluster/member/add", peerURLs=["http://127.0.0.1:1"], isLearner=True)
        pid = cluster.members[0].pid
        cluster.reset()
        assert cluster.members[0].pid != pid
        assert len(call(cluster, "cluster/member/list")["members"]) == 1
