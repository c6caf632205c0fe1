"""The Watch service: requests told apart, permission, and streams that require a leader."""

from __future__ import annotations

from pathlib import Path

import pytest

from rusd.api.watch import Permit, WatchService
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EtcdError
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.leader import RequireLeader
from rusd.rpc.methods import BidiStream
from rusd.rpc.streams import StreamHandler
from tests.unit.watch.scene import Client, Scene, plain, seen

PATIENCE = 3.0


class Member:
    """A watch service on a stage; `leader` is whom it believes to lead."""

    def __init__(self, directory: Path, permit: Permit | None = None) -> None:
        self.scene = Scene(directory / "db")
        self.leader = 1
        self.require_leader = RequireLeader(self.scene.loop, lambda: self.leader, PATIENCE)
        self.service = WatchService(self.scene.hub, permit)

    def lead(self, leader: int) -> None:
        self.leader = leader
        self.require_leader.on_role(leader, 5, False)

    def connect(self, **metadata: str) -> tuple[StreamHandler, Client]:
        responses = self.scene.client()
        call = Call(metadata=metadata, raw=b"", deadline=None, caller=Caller("test"))
        (method,) = guarded(self.service.methods(), [self.require_leader]).values()
        assert isinstance(method, BidiStream)
        return method.open(call, responses), responses


def create(key: bytes, **fields: object) -> rpc.WatchRequest:
    return rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key, **fields))


def test_the_service_is_one_bidirectional_stream(tmp_path: Path) -> None:
    (path, method), *others = Member(tmp_path).service.methods().items()
    assert path == "/etcdserverpb.Watch/Watch"
    assert isinstance(method, BidiStream) and method.request is rpc.WatchRequest
    assert not others


def test_create_cancel_and_progress_requests_are_told_apart(tmp_path: Path) -> None:
    member = Member(tmp_path)
    handler, responses = member.connect()
    handler.received(create(b"a"))
    handler.received(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
    handler.received(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=0)))
    assert [plain(r) for r in responses.read()] == [
        {"created": True},
        {"watch_id": -1},
        {"canceled": True},
    ]


def test_a_request_for_nothing_is_ignored(tmp_path: Path) -> None:
    handler, responses = Member(tmp_path).connect()
    handler.received(rpc.WatchRequest())
    assert responses.read() == [] and not responses.finished


def test_a_client_that_closes_its_side_goes_on_receiving(tmp_path: Path) -> None:
    member = Member(tmp_path)
    handler, responses = member.connect()
    handler.received(create(b"a"))
    handler.half_closed()
    member.scene.put(b"a")
    assert seen(responses.read()) == [("put", b"a", 2)]
    assert not responses.finished


def test_a_stream_that_is_over_has_no_watchers(tmp_path: Path) -> None:
    member = Member(tmp_path)
    handler, _ = member.connect()
    handler.received(create(b"a"))
    handler.closed()
    assert member.scene.hub.watchers == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            EtcdError(errors.Code.PERMISSION_DENIED, "etcdserver: permission denied"),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
        (
            EtcdError(errors.Code.UNAUTHENTICATED, "etcdserver: invalid auth token"),
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
    ],
)
def test_without_permission_the_watcher_is_refused_and_the_stream_stays(
    tmp_path: Path, error: EtcdError, reason: str
) -> None:
    asked = []

    def permit(call: Call, key: bytes, range_end: bytes) -> None:
        asked.append((call.metadata["token"], key, range_end))
        if key == b"secret":
            raise error

    handler, responses = Member(tmp_path, permit).connect(token="me")
    handler.received(create(b"secret"))
    handler.received(create(b"", range_end=b"\0"))
    refused, created = responses.read()
    assert plain(refused) == {
        "watch_id": -1,
        "created": True,
        "canceled": True,
        "cancel_reason": reason,
    }
    assert plain(created) == {"created": True}
    assert asked == [("me", b"secret", b""), ("me", b"\0", b"\0")]


def test_a_negative_start_is_refused_as_compacted_before_permission_is_asked_for(
    tmp_path: Path,
) -> None:
    def permit(call: Call, key: bytes, range_end: bytes) -> None:
        raise AssertionError("asked")

    handler, outlet = Member(tmp_path, permit).connect()
    handler.received(create(b"a", start_revision=-1))
    (refused,) = outlet.read()
    assert plain(refused) == {
        "watch_id": -1,
        "created": True,
        "canceled": True,
        "cancel_reason": "etcdserver: mvcc: required revision has been compacted",
    }
    assert not outlet.finished


def test_without_a_leader_a_stream_that_requires_one_is_refused(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.lead(0)
    with pytest.raises(EtcdError) as refusal:
        member.connect(hasleader="true")
    assert refusal.value == errors.NO_LEADER()
    member.connect()
    member.connect(hasleader="false")


def test_a_stream_that_requires_a_leader_ends_when_it_is_lost_for_long(tmp_path: Path) -> None:
    member = Member(tmp_path)
    _, demanding = member.connect(hasleader="true")
    _, patient = member.connect()
    member.lead(0)
    member.scene.loop.advance(PATIENCE * 0.9)
    assert not demanding.finished
    member.scene.loop.advance(PATIENCE * 0.2)
    assert demanding.error == errors.NO_LEADER()
    assert not patient.finished


def test_a_short_election_ends_no_stream(tmp_path: Path) -> None:
    member = Member(tmp_path)
    _, demanding = member.connect(hasleader="true")
    for leader in (2, 3):
        member.lead(0)
        member.scene.loop.advance(PATIENCE * 0.9)
        member.lead(leader)
        member.scene.loop.advance(PATIENCE * 0.9)
    assert not demanding.finished


def test_a_stream_that_is_over_is_not_ended_again(tmp_path: Path) -> None:
    member = Member(tmp_path)
    handler, responses = member.connect(hasleader="true")
    handler.closed()
    member.lead(0)
    member.scene.loop.advance(PATIENCE * 2)
    assert not responses.finished
