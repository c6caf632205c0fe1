"""What a server does with leases, users and alarms of a snapshot of the other kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf.message import Message

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, command, fit_for_oracle
from tests.support.snapshots import (
    hash_kv,
    restore,
    restore_by_etcdutl,
    save,
)

AUTH = "/etcdserverpb.Auth/"
ROOT = ("root", "secret")
ALICE = ("alice", "wonderland")
#: Binaries by the name of the server.
SERVERS = {"rusd": None, "etcd": [command(ORACLE)]}
#: Revision that the store is compacted at.
COMPACTED = 4


def auth(client: Client, method: str, request: Message) -> Message:
    name = type(request).__name__.replace("Request", "Response")
    answer: Message = client.call(AUTH + method, request, getattr(rpc, name))
    return answer


def as_user(client: Client, name: str, password: str) -> Client:
    request = rpc.AuthenticateRequest(name=name, password=password)
    token = client.call(AUTH + "Authenticate", request, rpc.AuthenticateResponse).token
    return Client(client.endpoint, metadata={"token": token})


def alarms(client: Client, action: int = rpc.AlarmRequest.GET, member: int = 0) -> list[Message]:
    kind = rpc.NONE if action == rpc.AlarmRequest.GET else rpc.NOSPACE
    request = rpc.AlarmRequest(action=action, memberID=member, alarm=kind)  # type: ignore[arg-type]
    answer = client.call("/etcdserverpb.Maintenance/Alarm", request, rpc.AlarmResponse)
    return list(answer.alarms)


def populate(client: Client) -> None:
    """Keys, leases with keys and one without, users with passwords and permissions, an alarm."""
    for lease in (600, 700):
        client.grant(lease, lease)
    for key in (b"k1", b"k2"):
        client.put(key, b"v", lease=600)
    client.put(b"plain", b"1")
    client.compact(COMPACTED, physical=True)
    client.put(b"plain", b"2")
    role = rpc.AuthRoleGrantPermissionRequest(name="keys")
    role.perm.permType, role.perm.key, role.perm.range_end = 2, b"k", b"l"  # type: ignore[assignment]
    auth(client, "RoleAdd", rpc.AuthRoleAddRequest(name="keys"))
    auth(client, "RoleAdd", rpc.AuthRoleAddRequest(name="root"))
    auth(client, "RoleGrantPermission", role)
    for (name, password), granted in ((ROOT, "root"), (ALICE, "keys")):
        auth(client, "UserAdd", rpc.AuthUserAddRequest(name=name, password=password))
        auth(client, "UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=granted))
    alarms(client, rpc.AlarmRequest.ACTIVATE, client.status().header.member_id)
    auth(client, "AuthEnable", rpc.AuthEnableRequest())


def facts(root: Client) -> dict[str, object]:
    """What a server knows, without the header of each answer."""
    found: dict[str, object] = {}
    everything = root.range(b"\0", b"\0")
    found["revision"], found["keys"] = everything.header.revision, list(everything.kvs)
    kept = range(COMPACTED + 1, everything.header.revision + 1)
    found["hashes"] = [hash_kv(root, revision) for revision in (0, *kept)]
    found["alarms"] = [one.SerializeToString() for one in alarms(root)]
    for lease in sorted(one.ID for one in root.leases().leases):
        told = root.time_to_live(lease, keys=True)
        found[f"lease {lease}"] = told.grantedTTL, sorted(told.keys)
    status = rpc.AuthStatusRequest()
    told = auth(root, "AuthStatus", status)
    found["auth"] = told.enabled, told.authRevision  # type: ignore[attr-defined]
    for name, _ in (ROOT, ALICE):
        user = auth(root, "UserGet", rpc.AuthUserGetRequest(name=name))
        found[f"user {name}"] = list(user.roles)  # type: ignore[attr-defined]
    role = auth(root, "RoleGet", rpc.AuthRoleGetRequest(role="keys"))
    found["role"] = [one.SerializeToString() for one in role.perm]  # type: ignore[attr-defined]
    return found


@contextmanager
def restored(server: str, file: Path) -> Iterator[Client]:
    """A client without a user of one member that begins with the file."""
    with LocalCluster(1, binary=SERVERS[server], user=ROOT) as cluster:
        cluster.stop_all()
        if server == "etcd":
            restore_by_etcdutl(cluster, file)
        else:
            restore(cluster, 0, file)
            cluster.set_flags(0, ["--initial-cluster-token=restored"])
        cluster.start_all()
        cluster.wait_healthy()
        with Client(cluster.endpoints[0]) as client:
            yield client


@pytest.mark.parametrize("source", SERVERS)
@pytest.mark.parametrize("target", SERVERS)
def test_leases_users_and_alarms_of_one_server_are_in_force_on_the_other(
    source: str, target: str, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot.db"
    with LocalCluster(1, binary=SERVERS[source]) as cluster, Client(cluster.endpoints[0]) as client:
        populate(client)
        with as_user(client, *ROOT) as root:
            if target == "etcd":
                fit_for_oracle(root)
            before = facts(root)
            file.write_bytes(save(root))
    assert before["alarms"] and before["lease 600"] == (600, [b"k1", b"k2"])
    with restored(target, file) as client:
        with pytest.raises(Refused, match="authentication failed"):
            as_user(client, ALICE[0], "wrong")
        with pytest.raises(Refused, match="user name is empty"):
            client.range(b"k1")
        with as_user(client, *ROOT) as root, as_user(client, *ALICE) as alice:
            assert facts(root) == before
            with pytest.raises(Refused, match="database space exceeded"):
                alice.put(b"k3", b"v")
            with pytest.raises(Refused, match="permission denied"):
                alice.range(b"plain")
            (alarm,) = alarms(root)
            alarms(root, rpc.AlarmRequest.DEACTIVATE, alarm.memberID)  # type: ignore[attr-defined]
            newest = alice.put(b"k3", b"v").header.revision
            assert newest == before["revision"] + 1  # type: ignore[operator]
            assert 0 < root.time_to_live(600).TTL <= 600
            root.revoke(600)
            assert [one.key for one in root.range(b"k", b"l").kvs] == [b"k3"]
