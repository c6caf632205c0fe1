"""What a learner serves."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import NOT_SUPPORTED_FOR_LEARNER, EtcdError
from rusd.rpc.guards.learner import RoleMethods
from rusd.rpc.methods import BidiStream, Methods, ServerStream, Unary

CALL = Call({}, b"", None, "test")
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
    """Nothing."""


def table() -> RoleMethods:
    methods: Methods = {path: Unary(rpc.RangeRequest, answer) for path in UNARY}
    methods["/etcdserverpb.Maintenance/Snapshot"] = ServerStream(rpc.SnapshotRequest, stream)  # type: ignore[arg-type]
    methods["/etcdserverpb.Watch/Watch"] = BidiStream(rpc.WatchRequest, stream)  # type: ignore[arg-type]
    return RoleMethods(methods)


def served(role: RoleMethods, path: str, **request: Any) -> bool:
    method = role.served[path]
    assert isinstance(method, Unary)
    try:
        method.call(rpc.RangeRequest(**request), CALL)
    except EtcdError as error:
        assert error is NOT_SUPPORTED_FOR_LEARNER
        return False
    return True


def test_a_learner_serves_status_and_serializable_ranges_alone() -> None:
    role = table()
    role.learner(True)
    assert [path for path in UNARY if served(role, path)] == ["/etcdserverpb.Maintenance/Status"]
    assert served(role, "/etcdserverpb.KV/Range", serializable=True)


def test_a_promoted_learner_serves_everything_from_the_same_table() -> None:
    role = table()
    door = role.served
    role.learner(True)
    role.learner(False)
    assert door is role.served
    assert all(served(role, path) for path in UNARY)


@pytest.mark.parametrize(
    ("path", "kept"),
    [("/etcdserverpb.Maintenance/Snapshot", True), ("/etcdserverpb.Watch/Watch", False)],
)
def test_of_the_streams_a_learner_serves_snapshots(path: str, kept: bool) -> None:
    role = table()
    before = role.served[path]
    role.learner(True)
    assert (role.served[path] is before) is kept
