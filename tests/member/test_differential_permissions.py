"""Every permission decision beside etcd: generated users, roles, ranges and requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.proto import rpc_pb2 as rpc
from tests.support.auth_pair import ROOT, AuthExample, World, auth_pair, world
from tests.support.client import Refused
from tests.support.pair import Pair

KEYS = [b"a", b"a\0", b"aa", b"b", b"c", b"\xff"]
ENDS = [b"", b"\0", b"aa", b"b", b"c", b"d", b"\xff\xff"]
USERS, ROLES = ["u", "v"], ["r", "s"]


def is_range(key: bytes, end: bytes) -> bool:
    """Return whether it can hold keys; else etcd's answer depends on the order of its tree."""
    return end in (b"", b"\0") or end > key


ranges = st.tuples(st.sampled_from(KEYS), st.sampled_from(ENDS)).filter(lambda one: is_range(*one))
#: One permission a key: etcd keeps two on the same range if another begins at the same key.
grants = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(0, 2), st.sampled_from(ENDS)), max_size=4
).map(
    lambda found: [(access, key, end) for key, (access, end) in found.items() if is_range(key, end)]
)
worlds = st.builds(
    World,
    roles=st.fixed_dictionaries({role: grants for role in ROLES}),
    users=st.fixed_dictionaries(
        {user: st.lists(st.sampled_from(ROLES), unique=True) for user in USERS}
    ),
)
callers = st.sampled_from([*USERS, *USERS, ROOT, ""])

read = st.builds(
    lambda span, serializable: rpc.RangeRequest(
        key=span[0], range_end=span[1], serializable=serializable
    ),
    ranges,
    st.booleans(),
)
put = st.builds(
    lambda key, prev, lease: rpc.PutRequest(key=key, value=b"1", prev_kv=prev, lease=lease),
    st.sampled_from(KEYS),
    st.booleans(),
    st.sampled_from([0, 0, 1, 2]),
)
delete = st.builds(
    lambda span, prev: rpc.DeleteRangeRequest(key=span[0], range_end=span[1], prev_kv=prev),
    ranges,
    st.booleans(),
)
compare = st.builds(
    lambda span: rpc.Compare(key=span[0], range_end=span[1], version=0, target=rpc.Compare.VERSION),
    ranges,
)


def operation(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[rpc.RequestOp]:
    return st.one_of(
        read.map(lambda one: rpc.RequestOp(request_range=one)),
        put.map(lambda one: rpc.RequestOp(request_put=one)),
        delete.map(lambda one: rpc.RequestOp(request_delete_range=one)),
        inner.map(lambda one: rpc.RequestOp(request_txn=one)),
    )


def transaction(depth: int = 1) -> st.SearchStrategy[rpc.TxnRequest]:
    inner = transaction(depth - 1) if depth else st.just(rpc.TxnRequest())
    branch = st.lists(operation(inner), max_size=2)
    return st.builds(
        lambda conditions, success, failure: rpc.TxnRequest(
            compare=conditions, success=success, failure=failure
        ),
        st.lists(compare, max_size=2),
        branch,
        branch,
    )


requests = st.one_of(
    read.map(lambda one: ("KV/Range", one, rpc.RangeResponse)),
    put.map(lambda one: ("KV/Put", one, rpc.PutResponse)),
    delete.map(lambda one: ("KV/DeleteRange", one, rpc.DeleteRangeResponse)),
    transaction().map(lambda one: ("KV/Txn", one, rpc.TxnResponse)),
    st.sampled_from([1, 2, 3]).map(
        lambda lease: (
            "Lease/LeaseRevoke",
            rpc.LeaseRevokeRequest(ID=lease),
            rpc.LeaseRevokeResponse,
        )
    ),
    st.sampled_from([1, 2, 3]).map(
        lambda lease: (
            "Lease/LeaseGrant",
            rpc.LeaseGrantRequest(ID=lease, TTL=600),
            rpc.LeaseGrantResponse,
        )
    ),
    st.tuples(st.sampled_from([1, 2, 3]), st.booleans()).map(
        lambda found: (
            "Lease/LeaseTimeToLive",
            rpc.LeaseTimeToLiveRequest(ID=found[0], keys=found[1]),
            rpc.LeaseTimeToLiveResponse,
        )
    ),
    st.just(("Lease/LeaseLeases", rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse)),
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    yield from auth_pair()


def moved(path: str, request: Any, first_lease: int) -> Any:
    """The request with the lease ids of this example."""
    done = type(request)()
    done.CopyFrom(request)
    if path.startswith("Lease/") and hasattr(done, "ID"):
        done.ID += first_lease
    for one in _puts(done):
        if one.lease:
            one.lease += first_lease
    return done


def _puts(request: Any) -> Iterator[rpc.PutRequest]:
    if isinstance(request, rpc.PutRequest):
        yield request
    if isinstance(request, rpc.TxnRequest):
        for one in (*request.success, *request.failure):
            kind = one.WhichOneof("request")
            if kind == "request_put":
                yield one.request_put
            elif kind == "request_txn":
                yield from _puts(one.request_txn)


def ask(calls: AuthExample, user: str, call: tuple[str, Any, Any]) -> Any:
    path, request, answer = call
    request = moved(path, request, calls.example.leases)
    found = calls.both(user, "call", f"/etcdserverpb.{path}", request, answer)
    return found


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(worlds, st.lists(st.tuples(callers, requests), min_size=5, max_size=25))
def test_every_request_of_every_user_is_decided_as_etcd_decides_it(
    pair: Pair, inhabitants: World, asked: list[tuple[str, Any]]
) -> None:
    with world(pair, inhabitants) as calls:
        for lease in (1, 2):
            ask(
                calls,
                ROOT,
                (
                    "Lease/LeaseGrant",
                    rpc.LeaseGrantRequest(ID=lease, TTL=600),
                    rpc.LeaseGrantResponse,
                ),
            )
        for key in KEYS:
            calls.both(ROOT, "put", key, lease=calls.example.leases + 1 + len(key) % 2)
        for user, call in asked:
            ask(calls, user, call)
        for lease in (1, 2, 3):
            # (Keys come back with the next example.)
            calls.both(ROOT, "revoke", calls.example.leases + lease)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(worlds, st.lists(st.tuples(callers, ranges), min_size=3, max_size=10))
def test_a_watch_is_created_for_a_user_with_read_permission_of_its_range(
    pair: Pair, inhabitants: World, asked: list[tuple[str, tuple[bytes, bytes]]]
) -> None:
    with world(pair, inhabitants) as calls:
        for user, (key, end) in asked:
            answers = []
            for client in calls.clients(user):
                with client.watch() as stream:
                    stream.create(key, end)
                    found = stream.receive()
                    answers.append(
                        (found.watch_id, found.created, found.canceled, found.cancel_reason)
                    )
            assert answers[0] == answers[1], f"{user or 'nobody'} watches {key!r} to {end!r}"


MANAGEMENT = [
    ("Cluster/MemberList", rpc.MemberListRequest(), rpc.MemberListResponse),
    ("Cluster/MemberRemove", rpc.MemberRemoveRequest(ID=1), rpc.MemberRemoveResponse),
    (
        "Cluster/MemberAdd",
        rpc.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True),
        None,
    ),
    ("Cluster/MemberPromote", rpc.MemberPromoteRequest(ID=1), rpc.MemberPromoteResponse),
    ("Cluster/MemberUpdate", rpc.MemberUpdateRequest(ID=1, peerURLs=["http://127.0.0.1:1"]), None),
    ("Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse),
    ("Maintenance/Alarm", rpc.AlarmRequest(), rpc.AlarmResponse),
    ("Maintenance/Alarm", rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE), rpc.AlarmResponse),
    ("Maintenance/Defragment", rpc.DefragmentRequest(), rpc.DefragmentResponse),
    ("Maintenance/Hash", rpc.HashRequest(), rpc.HashResponse),
    ("Maintenance/HashKV", rpc.HashKVRequest(), rpc.HashKVResponse),
    ("Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=1), rpc.MoveLeaderResponse),
    ("Maintenance/Downgrade", rpc.DowngradeRequest(version="3.6.0"), rpc.DowngradeResponse),
    ("KV/Compact", rpc.CompactionRequest(revision=1), rpc.CompactionResponse),
]


@pytest.mark.parametrize("call", MANAGEMENT, ids=lambda call: call[0])
def test_managing_the_cluster_requires_the_permission_that_etcd_requires(
    pair: Pair, call: Any
) -> None:
    path, request, answer = call
    with world(pair, World({"r": [(2, b"a", b"\0")]}, {"u": ["r"]})) as calls:
        for user in ("", "u"):
            outcomes = []
            for client in calls.clients(user):
                try:
                    client.call(f"/etcdserverpb.{path}", request, answer or rpc.MemberAddResponse)
                    outcomes.append(Refused("OK", ""))
                except Refused as refused:
                    outcomes.append(refused)
            assert outcomes[0] == outcomes[1], f"{user or 'nobody'} calls {path}"
