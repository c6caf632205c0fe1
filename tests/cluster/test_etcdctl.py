"""etcdctl 3.5, unmodified, against each of three members."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.local import LocalCluster
from tests.support.pair import SUBJECT, command


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


class Etcdctl:
    """The command with one member as its endpoint, and a key prefix of its own."""

    def __init__(self, endpoints: str, prefix: str) -> None:
        self.endpoints = endpoints
        self.prefix = prefix

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Its standard output; fails the test when it fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command("etcdctl"), f"--endpoints={self.endpoints}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            env={"ETCDCTL_API": "3"},
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-w", "json"))

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"


@pytest.fixture(params=[0, 1, 2], ids=["member0", "member1", "member2"])
def etcdctl(cluster: LocalCluster, request: pytest.FixtureRequest) -> Etcdctl:
    name = request.node.originalname
    return Etcdctl(cluster.endpoints[request.param], f"{name}/{request.param}")


@pytest.fixture
def everywhere(cluster: LocalCluster) -> Etcdctl:
    return Etcdctl(",".join(cluster.endpoints), "everywhere")


def test_put_get_and_del(etcdctl: Etcdctl) -> None:
    key = etcdctl.key("k")
    assert etcdctl("put", key, "one") == "OK\n"
    assert etcdctl("put", key, "two", "--prev-kv") == f"OK\n{key}\none\n"
    assert etcdctl("get", key) == f"{key}\ntwo\n"
    assert etcdctl("get", key, "--print-value-only") == "two\n"
    assert etcdctl("del", key, "--prev-kv") == f"1\n{key}\ntwo\n"
    assert etcdctl("get", key) == ""
    assert etcdctl("del", key) == "0\n"


def test_get_by_prefix_limit_order_revision_and_count(etcdctl: Etcdctl) -> None:
    names = [etcdctl.key(f"p{n}") for n in range(5)]
    for name in names:
        etcdctl("put", name, "old")
    revision = etcdctl.json("get", names[0])["header"]["revision"]
    etcdctl("put", names[0], "new")
    prefix = etcdctl.key("p")
    keys = ["get", prefix, "--prefix", "--keys-only"]
    assert etcdctl(*keys).split() == names
    assert etcdctl(*keys, "--limit=2").split() == names[:2]
    assert etcdctl(*keys, "--order=DESCEND").split() == names[::-1]
    assert etcdctl(*keys, "--sort-by=MODIFY", "--order=DESCEND").split()[0] == names[0]
    assert etcdctl("get", names[0], f"--rev={revision}").split()[1] == "old"
    assert "5" in etcdctl("get", prefix, "--prefix", "--count-only", "-w", "fields").split()
    assert (
        etcdctl("get", prefix, "--from-key", "--limit=1", "--consistency=s").split()[0]
        == (names[0])
    )


def test_txn_from_standard_input(etcdctl: Etcdctl) -> None:
    key = etcdctl.key("t")
    etcdctl("put", key, "1")
    script = f'value("{key}") = "1"\n\nput {key} 2\n\nput {key} 3\n\n'
    assert etcdctl("txn", stdin=script).split() == ["SUCCESS", "OK"]
    assert etcdctl("txn", stdin=script).split() == ["FAILURE", "OK"]
    assert etcdctl("get", key, "--print-value-only") == "3\n"


def test_watch_from_a_revision_and_live(etcdctl: Etcdctl) -> None:
    key = etcdctl.key("w")
    etcdctl("put", key, "1")
    revision = etcdctl.json("get", key)["kvs"][0]["mod_revision"]
    watching = subprocess.Popen(
        [
            command("etcdctl"),
            f"--endpoints={etcdctl.endpoints}",
            *("watch", key, "--prefix", "--prev-kv", f"--rev={revision}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    try:
        lines = [watching.stdout.readline().strip() for _ in range(3)]
        assert lines == ["PUT", key, "1"]
        etcdctl("put", key, "2")
        lines = [watching.stdout.readline().strip() for _ in range(5)]
        assert lines == ["PUT", key, "1", key, "2"]
        etcdctl("del", key)
        lines = [watching.stdout.readline().strip() for _ in range(5)]
        assert lines == ["DELETE", key, "2", key, ""]
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_lease_grant_keep_alive_time_to_live_and_revoke(etcdctl: Etcdctl) -> None:
    lease = etcdctl("lease", "grant", "300").split()[1]
    key = etcdctl.key("l")
    etcdctl("put", key, "1", f"--lease={lease}")
    assert etcdctl("lease", "keep-alive", "--once", lease) == (
        f"lease {lease} keepalived with TTL(300)\n"
    )
    shown = etcdctl("lease", "timetolive", lease, "--keys")
    assert shown.startswith(f"lease {lease} granted with TTL(300s), remaining(")
    assert f"attached keys([{key}])" in shown
    assert lease in etcdctl("lease", "list").split()
    assert etcdctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert etcdctl("get", key) == ""
    assert "already expired" in etcdctl("lease", "timetolive", lease)


def test_compact_makes_older_revisions_unreadable(etcdctl: Etcdctl) -> None:
    key = etcdctl.key("c")
    for value in "123":
        etcdctl("put", key, value)
    revision = etcdctl.json("get", key)["header"]["revision"]
    assert etcdctl("compact", str(revision)) == f"compacted revision {revision}\n"
    refused = etcdctl.run("get", key, f"--rev={revision - 1}")
    assert refused.returncode != 0
    assert "required revision has been compacted" in refused.stderr
    assert etcdctl("get", key, "--print-value-only") == "3\n"


def test_endpoint_status_shows_one_leader_and_one_term(
    everywhere: Etcdctl, cluster: LocalCluster
) -> None:
    table = everywhere("endpoint", "status", "-w", "table")
    assert len(table.splitlines()) == 7
    statuses = [entry["Status"] for entry in everywhere.json("endpoint", "status")]
    assert len({status["header"]["member_id"] for status in statuses}) == 3
    assert len({status["header"]["cluster_id"] for status in statuses}) == 1
    assert len({status["leader"] for status in statuses}) == 1
    assert len({status["raftTerm"] for status in statuses}) == 1
    leaders = [s["leader"] == s["header"]["member_id"] for s in statuses]
    assert leaders.index(True) == cluster.leader() and leaders.count(True) == 1
    for status in statuses:
        assert status["raftIndex"] >= status["raftAppliedIndex"] > 0
        assert status["dbSize"] >= status["dbSizeInUse"] > 0
        assert status["version"].startswith("3.")


def test_endpoint_health_shows_all_members_healthy(everywhere: Etcdctl) -> None:
    health = everywhere.json("endpoint", "health")
    assert [entry["health"] for entry in health] == [True] * 3


def test_endpoint_hashkv_is_equal_on_all_members(everywhere: Etcdctl) -> None:
    everywhere("put", "hash", "1")
    revision = everywhere.json("get", "hash")["header"]["revision"]
    hashes = everywhere.json("endpoint", "hashkv", f"--rev={revision}")
    assert len({entry["HashKV"]["hash"] for entry in hashes}) == 1


def test_member_list_shows_names_and_urls(etcdctl: Etcdctl, cluster: LocalCluster) -> None:
    members = etcdctl.json("member", "list")["members"]
    by_name = {member["name"]: member for member in members}
    assert sorted(by_name) == sorted(member.name for member in cluster.members)
    for member in cluster.members:
        assert by_name[member.name]["clientURLs"] == [member.client_url]
        assert by_name[member.name]["peerURLs"] == [member.peer_url]
    assert "started" in etcdctl("member", "list", "-w", "table")


def test_move_leader_transfers_leadership(cluster: LocalCluster, everywhere: Etcdctl) -> None:
    before = cluster.leader()
    target = (before + 1) % 3
    statuses = everywhere.json("endpoint", "status")
    by_endpoint = {entry["Endpoint"]: entry["Status"] for entry in statuses}
    member = by_endpoint[cluster.endpoints[target]]["header"]["member_id"]
    moved = Etcdctl(cluster.endpoints[before], "")("move-leader", f"{member:x}")
    assert "Leadership transferred" in moved
    assert cluster.leader() == target
    refused = Etcdctl(cluster.endpoints[before], "").run("move-leader", f"{member:x}")
    assert refused.returncode != 0


def test_defrag_and_alarm_list(etcdctl: Etcdctl) -> None:
    assert etcdctl("defrag").startswith("Finished defragmenting")
    assert etcdctl("alarm", "list") == ""


def test_a_lease_that_is_not_kept_alive_expires(etcdctl: Etcdctl) -> None:
    lease = etcdctl("lease", "grant", "2").split()[1]
    key = etcdctl.key("gone")
    etcdctl("put", key, "1", f"--lease={lease}")
    deadline = time.monotonic() + 20
    while etcdctl("get", key):
        assert time.monotonic() < deadline
