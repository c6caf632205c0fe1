"""The Watch service: requests told apart, permission, and streams that require a leader."""

from __future__ import annotations

from pathlib import Path

import pytest

from rusd.api.watch import MAX_WAITING_BYTES, WatchService
from rusd.auth.providers import SimpleProvider
from rusd.auth.records import Access, Permission, Session, User
from rusd.auth.store import AuthStore
from rusd.base import sliced
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EtcdError
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.leader import RequireLeader
from rusd.rpc.methods import BidiStream
from rusd.rpc.streams import StreamHandler
from tests.unit.auth.recording import Recorded
from tests.unit.watch.scene import Client, Scene, plain, seen

PATIENCE = 3.0


class Raft:
    """A member whose log ends at an index, with reads that are released by hand."""

    applied_index = 5

    def __init__(self) -> None:
        self.reads: list[Pending[None]] = []

    def read_index(self) -> Pending[None]:
        self.reads.append(Pending())
        return self.reads[-1]


class Member:
    """A watch service on a stage; `leader` is whom it believes to lead."""

    def __init__(self, directory: Path) -> None:
        self.scene = Scene(directory / "db")
        self.leader = 1
        self.require_leader = RequireLeader(self.scene.loop, lambda: self.leader, PATIENCE)
        self.auth, self.records = AuthStore(), Recorded()
        self.tokens = SimpleProvider(300, self.scene.loop.time)
        self.raft = Raft()
        authenticator = Authenticator(self.auth, self.tokens, self.raft, certificates=False)
        self.service = WatchService(self.scene.hub, authenticator, self.auth)

    def enable_auth(self) -> None:
        """Users `root`, and `u` that may read from a to m."""
        auth, records = self.auth, self.records
        auth.add_user(records, User("root", b"", ("root",)))
        auth.add_user(records, User("u"))
        auth.add_role(records, "r")
        auth.grant_role(records, "u", "r")
        auth.grant_permission(records, "r", Permission(Access.READ, b"a", b"m"))
        auth.enable(records)

    def log_in(self, user: str, index: int = 0) -> str:
        session = Session(user, user.ljust(16, "x"), index)
        self.tokens.assign(session)
        return session.token

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


def refused(reason: str) -> dict[str, object]:
    return {"watch_id": -1, "created": True, "canceled": True, "cancel_reason": reason}


DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
INVALID = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
NOBODY = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"


def test_without_permission_the_watcher_is_refused_and_the_stream_stays(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token=member.log_in("u"))
    for key, end in ((b"z", b""), (b"a", b"\0"), (b"", b"\0"), (b"a", b"m\0"), (b"b", b"m")):
        handler.received(create(key, range_end=end))
    *denied, created = map(plain, responses.read())
    assert denied == [refused(DENIED)] * 4
    assert created == {"created": True}
    assert not responses.finished


def test_a_caller_that_is_nobody_or_forges_a_token_watches_nothing(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    for metadata, reason in (({}, NOBODY), ({"token": "x.1"}, INVALID), ({"token": ""}, INVALID)):
        handler, responses = member.connect(**metadata)
        handler.received(create(b"a"))
        assert [plain(one) for one in responses.read()] == [refused(reason)]


def test_a_token_that_ended_ends_no_watcher_and_creates_none(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token=member.log_in("u"))
    handler.received(create(b"a"))
    member.tokens.end(["u"])
    handler.received(create(b"a"))
    member.scene.put(b"a")
    created, denied, event = responses.read()
    assert plain(created) == {"created": True}
    assert plain(denied) == refused(INVALID)
    assert seen([event]) == [("put", b"a", 2)]


def test_requests_behind_a_login_that_is_not_applied_here_keep_their_order(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token="u".ljust(16, "x") + ".9")
    handler.received(create(b"a"))
    handler.received(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=0)))
    handler.received(create(b"z"))
    assert responses.read() == []
    member.log_in("u", 9)
    member.raft.applied_index = 9
    member.raft.reads[0].set_result(None)
    assert [plain(one) for one in responses.read()] == [
        {"created": True},
        {"canceled": True},
        refused(DENIED),
    ]


def test_a_stream_that_closes_while_its_caller_is_identified_creates_nothing(
    tmp_path: Path,
) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token="u".ljust(16, "x") + ".9")
    handler.received(create(b"a"))
    handler.closed()
    member.log_in("u", 9)
    member.raft.reads[0].set_result(None)
    assert responses.read() == [] and member.scene.hub.watchers == 0


def test_the_bytes_that_wait_while_a_caller_is_identified_are_bounded(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token="u".ljust(16, "x") + ".9")
    handler.received(create(b"a"))
    for _ in range(MAX_WAITING_BYTES >> 20):
        assert responses.error is None
        handler.received(create(b"k" * (1 << 20)))
    assert responses.error == errors.TOO_MANY_REQUESTS()
    handler.closed()
    member.raft.reads[0].set_result(None)
    assert member.scene.hub.watchers == 0


def test_a_watcher_ends_when_its_user_may_not_read_its_range_any_more(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, responses = member.connect(token=member.log_in("u"))
    other, kept = member.connect(token=member.log_in("root"))
    handler.received(create(b"a", range_end=b"c"))
    handler.received(create(b"d"))
    other.received(create(b"a", range_end=b"c"))
    member.auth.grant_permission(member.records, "r", Permission(Access.READ, b"d"))
    member.auth.revoke_permission(member.records, "r", b"a", b"m")
    sliced.finish(member.service.recheck())
    assert [plain(one) for one in responses.read()][2:] == [
        {"canceled": True, "cancel_reason": DENIED}
    ]
    assert [plain(one) for one in kept.read()] == [{"created": True}]
    member.scene.put(b"d")
    assert seen(responses.read()) == [("put", b"d", 2)]


def test_a_watcher_without_a_user_ends_when_authentication_is_enabled(tmp_path: Path) -> None:
    member = Member(tmp_path)
    handler, responses = member.connect()
    handler.received(create(b"a"))
    member.enable_auth()
    sliced.finish(member.service.recheck())
    assert [plain(one) for one in responses.read()][1:] == [
        {"canceled": True, "cancel_reason": DENIED}
    ]


def test_a_negative_start_is_refused_as_compacted_before_permission_is_asked_for(
    tmp_path: Path,
) -> None:
    member = Member(tmp_path)
    member.enable_auth()
    handler, outlet = member.connect()
    handler.received(create(b"a", start_revision=-1))
    (answer,) = outlet.read()
    assert plain(answer) == refused("etcdserver: mvcc: required revision has been compacted")
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
