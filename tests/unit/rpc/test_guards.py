"""Guards: every method states its requirements, and etcd's order of checks is kept."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.proto import health_pb2 as health
from rusd.proto import rpc_pb2 as rpc
from rusd.proto import v3election_pb2 as election
from rusd.proto import v3lock_pb2 as lock
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.guards.chain import Guard, guarded
from rusd.rpc.guards.leader import LeaderOnly, RequireLeader
from rusd.rpc.guards.learner import LearnerRestriction
from rusd.rpc.guards.quota import Quota
from rusd.rpc.guards.validation import Validation
from rusd.rpc.methods import BidiStream, Method, ServerStream, Unary
from rusd.rpc.requirements import REQUIREMENTS, OnLearner, Permission, Requirements
from rusd.rpc.streams import ResponseStream, StreamHandler

PUT = "/etcdserverpb.KV/Put"


def every_path() -> set[str]:
    services = [
        *rpc.DESCRIPTOR.services_by_name.values(),
        health.DESCRIPTOR.services_by_name["Health"],
        lock.DESCRIPTOR.services_by_name["Lock"],
        election.DESCRIPTOR.services_by_name["Election"],
    ]
    return {
        f"/{service.full_name}/{method.name}" for service in services for method in service.methods
    }


def test_every_method_of_the_protocol_states_its_requirements() -> None:
    assert REQUIREMENTS.keys() == every_path()


def test_a_method_without_requirements_does_not_start() -> None:
    unlisted = {"/etcdserverpb.KV/New": Unary(rpc.PutRequest, lambda request, call: b"")}
    with pytest.raises(LookupError, match="no requirements are stated"):
        guarded(unlisted, ())


def test_only_what_adds_to_the_backend_has_a_cost_as_in_etcd() -> None:
    costly = {path.rpartition("/")[2] for path, row in REQUIREMENTS.items() if row.cost is not None}
    assert costly == {"Put", "Txn", "LeaseGrant"}


def test_a_learner_serves_what_etcds_interceptors_allow() -> None:
    allowed = {
        path.rpartition("/")[2]: row.on_learner
        for path, row in REQUIREMENTS.items()
        if row.on_learner is not OnLearner.REFUSED
    }
    assert allowed == {
        "Range": OnLearner.SERIALIZABLE,
        "Status": OnLearner.SERVED,
        "Snapshot": OnLearner.SERVED,
    }


def test_changes_of_members_users_and_maintenance_need_root() -> None:
    root = {path for path, row in REQUIREMENTS.items() if row.permission is Permission.ROOT}
    changes = {
        path
        for path in REQUIREMENTS
        if path.startswith(("/etcdserverpb.Cluster/Member", "/etcdserverpb.Auth/"))
    }
    others = {"MemberList", "AuthStatus", "Authenticate"}
    others |= {"UserGet", "RoleGet", "UserList", "RoleList"}
    maintenance = {"Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade"}
    assert root == {path for path in changes if path.rpartition("/")[2] not in others} | {
        "/etcdserverpb.KV/Compact",
        *(f"/etcdserverpb.Maintenance/{name}" for name in maintenance),
    }


class Loop:
    def call_later(self, delay: float, callback: Any) -> Any:
        self.callback = callback
        return self

    def cancel(self) -> None:
        """Does nothing."""


class Node:
    member_id = 1

    def propose(self, payload: bytes) -> Any:
        raise AssertionError("no alarm is raised")


def test_checks_run_in_etcds_order() -> None:
    """Learner, leader, quota, validation, leader alone; the method last."""
    leader = [0]
    learner, is_leader, scarce, valid = [True], [False], [True], [False]

    def validate(request: Any) -> None:
        if not valid[0]:
            raise EtcdError(Code.INVALID_ARGUMENT, "validation")

    def answer(request: Any, call: Call) -> bytes:
        return b"served"

    put = Unary(rpc.PutRequest, answer, validate)
    row = Requirements(Permission.NONE, cost=lambda request: 1, leader_only=True)
    guards: list[Guard] = [
        RequireLeader(Loop(), lambda: leader[0], 3.0),
        Quota(1, lambda: 0, Node(), scarce=lambda now: scarce[0]),
        Validation(),
        LeaderOnly(lambda: is_leader[0]),
    ]

    def outcome() -> object:
        method: Method = put
        for guard in reversed([LearnerRestriction(), *guards] if learner[0] else guards):
            method = guard.wrap(method, row)
        assert isinstance(method, Unary)
        try:
            return method.call(
                rpc.PutRequest(), Call({"hasleader": "true"}, b"", None, Caller("test"))
            )
        except EtcdError as error:
            return error.message.removeprefix("etcdserver: ")

    seen = [outcome()]
    for switch, value in ((learner, False), (leader, 1), (scarce, False), (valid, True)):
        switch[0] = value  # type: ignore[index]
        if switch is scarce:
            guards[1] = Quota(1 << 30, lambda: 0, Node(), scarce=lambda now: scarce[0])
        seen.append(outcome())
    is_leader[0] = True
    seen.append(outcome())
    assert seen == [
        "rpc not supported for learner",
        "no leader",
        "mvcc: database space exceeded",
        "validation",
        "not leader",
        b"served",
    ]


def test_a_method_that_needs_no_check_is_left_as_it_is() -> None:
    method = Unary(rpc.RangeRequest, lambda request, call: b"")
    row = Requirements(Permission.NONE, OnLearner.SERVED)
    for guard in (
        LearnerRestriction(),
        Quota(1, lambda: 0, Node()),
        Validation(),
        LeaderOnly(lambda: False),
    ):
        assert guard.wrap(method, row) is method


class Handler:
    def __init__(self) -> None:
        self.events: list[object] = []

    def received(self, request: Any) -> None:
        self.events.append(request)

    def half_closed(self) -> None:
        self.events.append("half closed")

    def drained(self) -> None:
        self.events.append("drained")

    def closed(self) -> None:
        self.events.append("closed")


class Responses:
    def __init__(self) -> None:
        self.error: EtcdError | None = None

    def send(self, message: bytes) -> None:
        """Drops the message."""

    def ready(self) -> bool:
        return True

    def finish(self, error: EtcdError | None = None) -> None:
        self.error = error


@pytest.mark.parametrize("kind", ["bidi", "server"])
def test_streams_that_require_a_leader_end_with_it_and_others_do_not(kind: str) -> None:
    loop, leader, handler = Loop(), [1], Handler()
    guard = RequireLeader(loop, lambda: leader[0], 3.0)
    row = Requirements(Permission.NONE)

    def open_stream(responses: ResponseStream, **metadata: str) -> StreamHandler:
        call = Call(metadata, b"", None, Caller("test"))
        if kind == "bidi":
            bidi = guard.wrap(BidiStream(rpc.WatchRequest, lambda call, responses: handler), row)
            assert isinstance(bidi, BidiStream)
            return bidi.open(call, responses)
        stream = guard.wrap(
            ServerStream(rpc.RangeRequest, lambda request, call, responses: handler), row
        )
        assert isinstance(stream, ServerStream)
        return stream.open(rpc.RangeRequest(), call, responses)

    bound, closed, free = Responses(), Responses(), Responses()
    one = open_stream(bound, hasleader="true")
    open_stream(closed, hasleader="true").closed()
    assert open_stream(free) is handler
    one.received("message")
    one.half_closed()
    one.drained()
    assert handler.events == ["closed", "message", "half closed", "drained"]
    leader[0] = 0
    guard.on_role(0, 2, False)
    loop.callback()
    assert bound.error is not None and bound.error.message == "etcdserver: no leader"
    assert closed.error is None and free.error is None
    with pytest.raises(EtcdError, match="no leader"):
        open_stream(Responses(), hasleader="true")
