"""What is left after a disaster, and what a restore makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.snapshots import hash_kv, restore, save
from tests.support.waiting import wait

AUTH = "/etcdserverpb.Auth/"
READY = "ready to serve client requests"
LEASE = "/etcdserverpb.Lease/"


def log_in(client: Client, password: str) -> str:
    request = rpc.AuthenticateRequest(name="root", password=password)
    token: str = client.call(AUTH + "Authenticate", request, rpc.AuthenticateResponse).token
    return token


def remaining(client: Client) -> int:
    request = rpc.LeaseTimeToLiveRequest(ID=7)
    ttl: int = client.call(LEASE + "LeaseTimeToLive", request, rpc.LeaseTimeToLiveResponse).TTL
    return ttl


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCluster, str, object]]:
    """Three new members from the snapshot of the only survivor of three; a token of before, and
    the hash.
    """
    file = tmp_path_factory.mktemp("drill") / "snapshot.db"
    with LocalCluster(3, flags=["--initial-cluster-token=restored"]) as cluster:
        survivor = (cluster.leader() + 1) % 3
        with Client(cluster.endpoints[survivor]) as client:
            client.call(
                LEASE + "LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=600), rpc.LeaseGrantResponse
            )
            client.put(b"key", b"value")
            client.call(
                "/etcdserverpb.KV/Put",
                rpc.PutRequest(key=b"leased", value=b"x", lease=7),
                rpc.PutResponse,
            )
            client.call(
                AUTH + "UserAdd",
                rpc.AuthUserAddRequest(name="root", password="secret"),
                rpc.AuthUserAddResponse,
            )
            client.call(
                AUTH + "RoleAdd", rpc.AuthRoleAddRequest(name="root"), rpc.AuthRoleAddResponse
            )
            client.call(
                AUTH + "UserGrantRole",
                rpc.AuthUserGrantRoleRequest(user="root", role="root"),
                rpc.AuthUserGrantRoleResponse,
            )
            client.call(AUTH + "AuthEnable", rpc.AuthEnableRequest(), rpc.AuthEnableResponse)
            token = log_in(client, "secret")
        for index in range(3):
            if index != survivor:
                cluster.kill(index)
        # (Snapshot and HashKV are answered without a quorum.)
        with Client(cluster.endpoints[survivor], metadata={"token": token}) as client:
            before = hash_kv(client)
            file.write_bytes(save(client))
        cluster.stop_all()
        for index in range(3):
            restore(cluster, index, file)
        cluster.start_all()
        # (Health is asked without a user, so refused here.)
        for member in cluster.members:
            wait(lambda m=member: READY in m.log_of_this_run() or None, member.log_tail, 60)  # type: ignore[misc]
        yield cluster, token, before


def test_three_new_members_serve_what_the_only_survivor_held(
    lost: tuple[LocalCluster, str, object],
) -> None:
    cluster, _, before = lost
    for endpoint in cluster.endpoints:
        with Client(endpoint) as client:
            token = log_in(client, "secret")
        with Client(endpoint, metadata={"token": token}) as client:
            assert client.range(b"key").kvs[0].value == b"value"
            assert hash_kv(client) == before


def test_users_log_in_anew_and_tokens_of_before_are_void(
    lost: tuple[LocalCluster, str, object],
) -> None:
    cluster, token, _ = lost
    with Client(cluster.endpoints[0]) as client:
        with pytest.raises(Refused, match="authentication failed"):
            log_in(client, "wrong")
        with pytest.raises(Refused, match="user name is empty"):
            client.range(b"key")
    with (
        Client(cluster.endpoints[0], metadata={"token": token}) as client,
        pytest.raises(Refused, match="invalid auth token"),
    ):
        client.range(b"key")


def test_leases_have_their_keys_and_their_time(lost: tuple[LocalCluster, str, object]) -> None:
    cluster, _, _ = lost
    with Client(cluster.endpoints[0]) as client:
        token = log_in(client, "secret")
    with Client(cluster.endpoints[0], metadata={"token": token}) as client:
        assert 500 < remaining(client) <= 600
        assert client.range(b"leased").count == 1


def test_a_lease_that_would_have_run_out_during_the_outage_begins_anew_and_ends(
    tmp_path: Path,
) -> None:
    file, ttl = tmp_path / "snapshot.db", 10
    with LocalCluster(3, flags=["--initial-cluster-token=restored"]) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.grant(ttl, 7)
            client.put(b"leased", b"x", lease=7)
            granted = time.monotonic()
            file.write_bytes(save(client))
        cluster.kill_all()
        for index in range(3):
            restore(cluster, index, file)
        wait(lambda: time.monotonic() > granted + ttl or None, "the time stands still", 60)
        cluster.start_all()
        # (Each member has the key before it is healthy: the lease begins with the first leader.)
        cluster.wait_leader()
        started = time.monotonic()
        with Client(cluster.endpoints[0]) as client:
            found = wait(lambda: answered(client), "no answer", 60)
            assert found.count == 1 or time.monotonic() > started + ttl
            wait(lambda: client.range(b"leased").count == 0 or None, "it does not end", 60)
            assert time.monotonic() > started + ttl - 3
            assert client.leases().leases == []


def answered(client: Client) -> rpc.RangeResponse | None:
    try:
        return client.range(b"leased")
    except Refused:
        return None


def test_a_member_restored_with_another_token_does_not_join_and_harms_nobody(
    lost: tuple[LocalCluster, str, object], tmp_path: Path
) -> None:
    cluster, _, _ = lost
    with Client(cluster.endpoints[0]) as client:
        token = log_in(client, "secret")
    with Client(cluster.endpoints[0], metadata={"token": token}) as client:
        file = tmp_path / "snapshot.db"
        file.write_bytes(save(client))
        cluster.stop(2)
        restore(cluster, 2, file, "--initial-cluster-token", "other")
        cluster.restart(2)
        other = cluster.members[2]
        wait(lambda: "cluster ID mismatch" in other.log_of_this_run() or None, other.log_tail, 60)
        for number in range(5):
            client.put(b"after", b"%d" % number)
    assert READY not in other.log_of_this_run()
