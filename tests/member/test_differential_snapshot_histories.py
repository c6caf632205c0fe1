"""Any history that a running etcd has gone through, by its snapshot to rusd and back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.local import LocalCluster
from rusd.backup import export
from rusd.backup.restore import restore
from rusd.base.sliced import finish
from rusd.bbolt import Database
from rusd.proto import rpc_pb2 as rpc
from rusd.state.machine import StateMachine
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, command, etcdutl, oracle_version
from tests.support.snapshots import buckets, etcdutl_hashes, hash_kv, run, save

#: More in `make test-recovery`.
EXAMPLES = int(os.environ.get("RUSD_RECOVERY_EXAMPLES", "25")) // 5
#: What a cluster knows of itself alone.
OWN = {b"members", b"members_removed", b"meta", b"cluster"}

Change = Callable[[Client], object]

KEYS = st.sampled_from([b"\0", b"a", b"a\0", b"a\0b", b"b", b"k" * 300, b"\xff", b"\xff\xff\0"])
VALUES = st.one_of(st.sampled_from([b"", b"\0", b"v" * 5000]), st.binary(max_size=40))
ENDS = st.sampled_from([b"", b"\0", b"b", b"\xff"])
#: They do not run out meanwhile.
LEASES = st.sampled_from([-7, 1, 600, 2**63 - 1])
NAMES = st.sampled_from(["u", "r", "ü"])


def _txn(changes: Sequence[tuple[bytes, bytes | None]]) -> Change:
    request = rpc.TxnRequest()
    for key, value in changes:
        if value is None:
            request.success.add().request_delete_range.key = key
        else:
            put = request.success.add().request_put
            put.key, put.value = key, value
    return lambda client: client.txn(request)


def _compact(share: float) -> Change:
    """Compact a part of the newest ten revisions."""

    def change(client: Client) -> None:
        newest = client.range(b"a").header.revision
        client.compact(newest - round(10 * share), physical=True)

    return change


def _auth(method: str, request: Message) -> Change:
    answer = getattr(rpc, f"Auth{method}Response")
    return lambda client: client.call(f"/etcdserverpb.Auth/{method}", request, answer)


def _permission(name: str, kind: int, key: bytes, end: bytes) -> Change:
    request = rpc.AuthRoleGrantPermissionRequest(name=name)
    request.perm.permType = kind  # type: ignore[assignment]
    request.perm.key, request.perm.range_end = key, end
    return _auth("RoleGrantPermission", request)


def _user(name: str) -> Change:
    return _auth("UserAdd", rpc.AuthUserAddRequest(name=name, options={"no_password": True}))


_KEY_CHANGES = st.one_of(
    st.builds(
        lambda key, value, lease: lambda client: client.put(key, value, lease=lease),
        KEYS,
        VALUES,
        st.one_of(st.just(0), LEASES),
    ),
    st.builds(lambda key, end: lambda client: client.delete(key, end), KEYS, ENDS),
    st.lists(
        st.tuples(KEYS, st.one_of(st.none(), VALUES)), max_size=5, unique_by=lambda one: one[0]
    ).map(_txn),
)
_OTHERS = st.one_of(
    st.floats(0, 1).map(_compact),
    st.builds(
        lambda lease, ttl: lambda client: client.grant(ttl, lease),
        LEASES,
        st.integers(5000, 9_000_000_000),
    ),
    LEASES.map(lambda lease: lambda client: client.revoke(lease)),
    NAMES.map(_user),
    NAMES.map(lambda name: _auth("UserDelete", rpc.AuthUserDeleteRequest(name=name))),
    NAMES.map(lambda name: _auth("RoleAdd", rpc.AuthRoleAddRequest(name=name))),
    NAMES.map(lambda name: _auth("RoleDelete", rpc.AuthRoleDeleteRequest(role=name))),
    st.builds(
        lambda user, role: _auth(
            "UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role=role)
        ),
        NAMES,
        NAMES,
    ),
    st.builds(_permission, NAMES, st.sampled_from([0, 1, 2]), KEYS, ENDS),
)
HISTORIES = st.lists(st.one_of(_KEY_CHANGES, _KEY_CHANGES, _OTHERS), max_size=40)


@pytest.fixture(scope="module")
def etcd() -> Iterator[Client]:
    with LocalCluster(1, binary=[command(ORACLE)]) as cluster, Client(cluster.endpoints[0]) as one:
        yield one


def begin(etcd: Client) -> None:
    """Remove what an earlier example left, but for users and roles."""
    etcd.delete(b"\0", b"\0")
    for lease in etcd.leases().leases:
        etcd.revoke(lease.ID)
    # (A put, since the revision of the deletion may be compacted already.)
    etcd.compact(etcd.put(b"a").header.revision, physical=True)


@settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(HISTORIES)
def test_a_file_of_etcd_comes_back_from_rusd_with_equal_hashes_at_every_revision(
    etcd: Client, history: Sequence[Change]
) -> None:
    begin(etcd)
    for change in history:
        with suppress(Refused):
            change(etcd)
    newest = etcd.range(b"a").header.revision
    _, compacted = hash_kv(etcd)
    kept = range(compacted, newest + 1)
    # (Asked for the last revision that is compacted, etcd 3.5 answers none, and later ones the hash
    # from the compaction before, which is in no file.)
    theirs = [hash_kv(etcd, revision) for revision in kept[1:]] + [hash_kv(etcd)]
    file = save(etcd)
    with TemporaryDirectory() as directory:
        state, back = Path(directory) / "state", Path(directory) / "back.db"
        machine = StateMachine(state)
        restore(Database(file[:-32]), machine.engine)
        machine.close()
        # (Opened again, the machine knows what was restored.)
        machine = StateMachine(state)
        try:
            store = machine.store
            ours = [finish(store.hash_readable(revision)) for revision in kept]
            with back.open("wb") as out:
                export.write(machine.engine, out)
        finally:
            machine.close()
        found = [(one.hash, one.compact_revision) for one in ours]
        assert [*found[1:], found[-1]] == theirs
        assert (store.revision, store.compact_revision) == (newest, compacted)
        before, after = buckets(file), buckets(back.read_bytes() + bytes(32))
        for name in before.keys() - OWN:
            assert after[name] == before[name], name
        status = json.loads(run(*etcdutl(), "snapshot", "status", back, "-w", "json"))
        assert status["revision"] == newest
        if oracle_version() >= (3, 6):
            assert etcdutl_hashes(back, kept) == [one.hash for one in ours]
