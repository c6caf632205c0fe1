"""/metrics: the names that are promised, true values, and etcd's types and labels."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.contention import until
from tests.support.pair import ORACLE, SUBJECT, command, newer_oracle

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
FLAGS = ["--metrics=extensive", "--warning-apply-duration=1ns"]
#: What the alerts and dashboards of etcd's mixin read.
MIXIN = {
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_round_trip_time_seconds",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
}
#: Shown only once there was such a thing, or with a flag; not in a cluster that was just started.
LATER = re.compile(r"etcd_network_snapshot_.*|etcd_debugging_server_alarms|rusd_backup.*")


def listed(heading: str) -> list[str]:
    """The names in one table of the page."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


class Scrape:
    """One answer of /metrics."""

    def __init__(self, cluster: LocalCluster, member: int = 0) -> None:
        url = f"{cluster.members[member].client_url}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        self.samples = {
            name: float(value) for name, value in re.findall(r"^([^#\s].*) (\S+)$", text, re.M)
        }

    def labels(self, family: str) -> set[str]:
        """The names of the labels of a family."""
        of_family = re.compile(rf"{family}(_bucket|_sum|_count)?\{{(.*)\}}")
        found = filter(None, map(of_family.fullmatch, self.samples))
        return {label for one in found for label in re.findall(r'(\w+)="', one[2])}


@pytest.fixture(scope="module")
def three() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)], flags=FLAGS) as cluster:
        use(cluster)
        yield cluster


SLOW = "etcd_server_slow_apply_total"
LONG = 500_000


def use(cluster: LocalCluster) -> None:
    """A little of everything, at the leader."""
    leader = cluster.leader()
    url = cluster.members[leader].client_url
    for page in ("/health", "/livez", "/readyz"):
        urllib.request.urlopen(url + page, timeout=10).read()
    with Client(cluster.endpoints[leader]) as client, client.watch() as watch:
        watch.create(b"k")
        assert watch.receive().created
        client.grant(600, 7)
        for _ in range(3):
            client.put(b"k", b"12345", lease=7)
        assert len(list(islice(watch.events(), 3))) == 3
        client.range(b"k")
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"x"))
        read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
        client.txn(rpc.TxnRequest(success=[put, read]))
        client.delete(b"x")
        client.keep_alive(7)
        client.revoke(7)
        client.compact(client.put(b"end").header.revision, physical=True)
        client.hash_kv()


def test_every_name_of_the_documentation_is_served_and_no_other(three: LocalCluster) -> None:
    served = Scrape(three, three.leader()).types.keys()
    promised = listed("Served")
    assert promised == sorted(promised) and served <= set(promised)
    assert not [name for name in promised if name not in served and not LATER.fullmatch(name)]
    assert served >= MIXIN
    assert not [
        name for name in promised for pattern in listed("Absent") if fnmatchcase(name, pattern)
    ]


def test_operations_are_counted_as_they_happened(three: LocalCluster) -> None:
    seen = Scrape(three, three.leader()).samples
    prefix = "etcd_debugging_"
    assert {name: seen[name] for name in seen if re.fullmatch(r"etcd_mvcc_\w+_total", name)} == {
        "etcd_mvcc_put_total": 5,
        # One of them by the lease.
        "etcd_mvcc_delete_total": 2,
        # And those by which the launcher sees that members are healthy.
        "etcd_mvcc_range_total": max(2, seen["etcd_mvcc_range_total"]),
        "etcd_mvcc_txn_total": 1,
    }
    assert seen[f"{prefix}mvcc_total_put_size_in_bytes"] == 3 * 6 + 1 + 3
    assert seen[f"{prefix}mvcc_events_total"] >= 3
    assert [seen[f"{prefix}lease_{what}_total"] for what in ("granted", "renewed", "revoked")] == [
        1,
        1,
        1,
    ]
    assert seen[f"{prefix}lease_ttl_total_sum"] == 1200
    assert seen[f"{prefix}mvcc_db_compaction_total_duration_milliseconds_count"] == 1
    assert seen[f"{prefix}mvcc_db_compaction_keys_total"] > 0
    assert seen["etcd_mvcc_hash_rev_duration_seconds_count"] == 1
    put = '{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}'
    assert seen[f"grpc_server_msg_received_total{put}"] == 4
    assert seen[f"grpc_server_handling_seconds_count{put}"] == 4
    assert seen["etcd_network_client_grpc_received_bytes_total"] > 4 * 6


def test_disks_and_peers_are_measured(three: LocalCluster) -> None:
    seen = Scrape(three, three.leader()).samples
    for family in ("etcd_disk_wal_fsync", "etcd_disk_wal_write", "etcd_disk_backend_commit"):
        assert seen[f"{family}_duration_seconds_count"] >= 8
        assert 0 < seen[f"{family}_duration_seconds_sum"] < 60
    assert seen["etcd_disk_wal_write_bytes_total"] > 500
    peers = [name for name in seen if name.startswith("etcd_network_peer_sent_bytes_total")]
    assert len(peers) == 2 and all(seen[name] > 500 for name in peers)
    assert len([name for name in seen if name.startswith("etcd_network_known_peers")]) == 3


def test_bytes_of_clients_and_peers_are_those_that_were_sent(three: LocalCluster) -> None:
    leader = three.leader()
    follower = (leader + 1) % 3
    with Client(three.endpoints[leader]) as client:
        sender = f"{client.status().header.member_id:x}"
        before = Scrape(three, leader).samples, Scrape(three, follower).samples
        client.put(b"long", bytes(LONG))
        client.range(b"long")
    own, prefix = "etcd_network_client_grpc", "etcd_network_peer"

    def grown(member: int, start: str) -> list[float]:
        now, then = Scrape(three, member).samples, before[member != leader]
        return [now[name] - then.get(name, 0) for name in now if name.startswith(start)]

    for direction in ("received", "sent"):
        (more,) = grown(leader, f"{own}_{direction}_bytes_total")
        assert LONG < more < 1.1 * LONG, direction
    # Each follower is sent the entry, once it reads what is before it.
    until(lambda: min(grown(leader, f"{prefix}_sent_bytes_total")) > LONG, seconds=30)
    received = f'{prefix}_received_bytes_total{{From="{sender}"}}'
    until(lambda: grown(follower, received)[0] > LONG, seconds=30)
    assert max(grown(leader, f"{prefix}_received_bytes_total")) < LONG


def test_round_trips_to_each_peer_are_measured(three: LocalCluster) -> None:
    leader, name = three.leader(), "etcd_network_peer_round_trip_time_seconds"

    def counted() -> list[str]:
        seen = Scrape(three, leader).samples
        return [to for to, count in seen.items() if to.startswith(f"{name}_count") and count]

    until(lambda: len(counted()) == 2, seconds=30)
    seen = Scrape(three, leader).samples
    for to in counted():
        assert 0 < seen[to.replace("_count", "_sum")] < 5 * seen[to]


def test_a_leader_without_quorum_shows_proposals_pending_then_failed_and_a_change_of_leader(
    three: LocalCluster,
) -> None:
    leader = three.leader()
    others = [number for number in range(3) if number != leader]
    before = Scrape(three, leader).samples

    def more(name: str) -> float:
        name = f"etcd_server_{name}"
        return Scrape(three, leader).samples[name] - before[name]

    assert before["etcd_server_proposals_pending"] == 0
    for number in others:
        three.pause(number)
    try:
        with Client(three.endpoints[leader]) as client, ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(client.put, b"k", b"v")
            until(lambda: more("proposals_pending") == 1, seconds=30)
            until(lambda: more("proposals_failed_total") == 1, seconds=30)
            assert more("proposals_pending") == 0
            with pytest.raises(Refused):
                waiting.result()
        until(lambda: more("has_leader") == -1, seconds=30)
        assert more("leader_changes_seen_total") == 0
    finally:
        for number in others:
            three.resume(number)
    until(lambda: more("has_leader") == 0, seconds=30)
    assert more("leader_changes_seen_total") >= 1
    three.wait_healthy()


def test_applies_beyond_the_duration_that_is_expected_are_counted(three: LocalCluster) -> None:
    leader = three.leader()
    before = Scrape(three, leader).samples[SLOW]
    with Client(three.endpoints[leader]) as client:
        for _ in range(3):
            client.put(b"k", b"v")
    # (None is expected to take a nanosecond.)
    assert Scrape(three, leader).samples[SLOW] >= before + 3


def test_a_member_that_is_away_shows_as_messages_not_sent(three: LocalCluster) -> None:
    leader = three.leader()
    away = next(number for number in range(3) if number != leader)
    with Client(three.endpoints[away]) as client:
        name = f"{client.status().header.member_id:x}"
    lost = f'etcd_network_peer_sent_failures_total{{To="{name}"}}'
    before = Scrape(three, leader).samples[lost]
    three.kill(away)
    until(lambda: Scrape(three, leader).samples[lost] > before + 1, seconds=30)
    three.restart(away)
    three.wait_healthy()


@newer_oracle
def test_types_and_labels_are_those_of_etcd_and_what_is_absent_has_a_reason(
    three: LocalCluster,
) -> None:
    with LocalCluster(3, binary=[command(ORACLE)], flags=FLAGS) as cluster:
        use(cluster)
        etcd = Scrape(cluster, cluster.leader())
        mine = Scrape(three, three.leader())
        absent = listed("Absent")
        for name, kind in etcd.types.items():
            if name not in mine.types:
                assert any(fnmatchcase(name, pattern) for pattern in absent), name
                continue
            assert mine.types[name] == kind, name
            assert mine.labels(name) == etcd.labels(name), name
        for family in {name.partition("{")[0] for name in mine.samples if 'le="' in name}:
            theirs = bounds_of(etcd, family)
            assert not theirs or bounds_of(mine, family) == theirs, family


def bounds_of(scrape: Scrape, family: str) -> set[str]:
    return {
        bound
        for name in scrape.samples
        if name.partition("{")[0] == family
        for bound in re.findall('le="(.*?)"', name)
    }
