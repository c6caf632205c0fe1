"""The methods that a learner serves."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.learner import LearnerRestriction, RoleMethods
from rusd.rpc.methods import BidiStream, Methods, ServerStream, Unary

CALL = Call({}, b"", None, Caller("test"))
UNARY = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/HashKV",
]


def answer(request: Any, call: Call) -> bytes:
    return b"answer"


async def stream(*arguments: Any) -> None:
    """Does nothing."""


def table() -> RoleMethods:
    methods: Methods = {
        **{path: Unary(rpc.RangeRequest, answer) for path in UNARY},
        "/etcdserverpb.Maintenance/Snapshot": ServerStream(rpc.SnapshotRequest, stream),  # type: ignore[arg-type]
        "/etcdserverpb.Watch/Watch": BidiStream(rpc.WatchRequest, stream),  # type: ignore[arg-type]
    }
    return RoleMethods(methods, guarded(methods, [LearnerRestriction()]))


def served(role: RoleMethods, path: str, **request: Any) -> bool:
    method = role.served[path]
    assert isinstance(method, Unary)
    try:
        method.call(rpc.RangeRequest(**request), CALL)
    except EtcdError as error:
        refusal = (Code.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")
        assert (error.code, error.message) == refusal
        return False
    return True


def test_a_learner_serves_status_and_serializable_ranges_alone() -> None:
    role = table()
    role.set_learner(True)
    assert [path for path in UNARY if served(role, path)] == ["/etcdserverpb.Maintenance/Status"]
    assert served(role, "/etcdserverpb.KV/Range", serializable=True)


def test_a_promoted_learner_serves_everything_from_the_same_table() -> None:
    role = table()
    door = role.served
    role.set_learner(True)
    role.set_learner(False)
    assert door is role.served
    assert all(served(role, path) for path in UNARY)


def test_calls_are_counted_together_whatever_the_role() -> None:
    role = table()
    before = role.served["/etcdserverpb.KV/Put"].counts
    role.set_learner(True)
    assert role.served["/etcdserverpb.KV/Put"].counts is before


@pytest.mark.parametrize(
    ("path", "kept"),
    [("/etcdserverpb.Maintenance/Snapshot", True), ("/etcdserverpb.Watch/Watch", False)],
)
def test_of_the_streams_a_learner_serves_snapshots(path: str, kept: bool) -> None:
    role = table()
    before = role.served[path]
    role.set_learner(True)
    assert (role.served[path] is before) is kept
