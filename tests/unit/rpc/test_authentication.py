"""The identity of a call, and the guard that refuses callers."""

from typing import Any

import pytest

from rusd.auth.errors import InvalidToken, PermissionDenied, UserNameEmpty
from rusd.auth.providers import SimpleProvider
from rusd.auth.records import ANONYMOUS, Identity, Session, User
from rusd.auth.store import AuthStore
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call, Caller, Certificate
from rusd.rpc.errors import TIMEOUT
from rusd.rpc.guards.authentication import Authentication
from rusd.rpc.methods import ServerStream, Unary
from rusd.rpc.requirements import REQUIREMENTS, Permission, Requirements
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler
from tests.unit.auth.recording import Recorded


class Raft:
    applied_index = 5

    def __init__(self) -> None:
        self.reads: list[Pending[None]] = []

    def read_index(self) -> Pending[None]:
        self.reads.append(Pending())
        return self.reads[-1]


class Scene:
    """Users root, u (role r) and v; authentication on."""

    def __init__(self, certificates: bool = True) -> None:
        self.auth, records = AuthStore(), Recorded()
        for user in (User("root", b"", ("root",)), User("u", b"", ("r",)), User("v")):
            self.auth.add_user(records, user)
        self.auth.enable(records)
        self.records = records
        self.raft = Raft()
        self.tokens = SimpleProvider(300, lambda: 0.0)
        self.authenticator = Authenticator(
            self.auth, self.tokens, self.raft, certificates=certificates
        )
        self.guard = Authentication(self.authenticator, self.auth)

    def log_in(self, user: str, index: int = 1) -> str:
        session = Session(user, user.ljust(16, "x"), index)
        self.tokens.assign(session)
        return session.token

    def identity(self, user: str) -> Identity:
        return Identity(user, self.auth.revision)


def call(certificate: str | None = None, **metadata: str) -> Call:
    known = None if certificate is None else Certificate(certificate)
    return Call(metadata, b"", None, Caller("1.2.3.4:5", known))


@pytest.mark.parametrize("form", ["token", "authorization", "bearer"])
def test_a_token_identifies_its_user(form: str) -> None:
    scene = Scene()
    token = scene.log_in("u")
    given = {"authorization": f"Bearer {token}"} if form == "bearer" else {form: token}
    assert scene.authenticator.identify(call(**given)) == scene.identity("u")


@pytest.mark.parametrize("token", ["", "x", "forged.1", "forged.x", "u" * 100_000])
def test_another_token_is_invalid(token: str) -> None:
    scene = Scene()
    with pytest.raises(InvalidToken):
        scene.authenticator.identify(call(token=token))


def test_a_token_that_is_not_known_yet_is_looked_up_after_a_read_index() -> None:
    scene = Scene()
    found = scene.authenticator.identify(call(token="u".ljust(16, "x") + ".9"))
    assert isinstance(found, Pending) and not found.done()
    scene.log_in("u", 9)
    scene.raft.reads[0].set_result(None)
    assert found.result() == scene.identity("u")


def test_a_token_that_is_not_known_after_it_either_is_invalid() -> None:
    scene = Scene()
    found = scene.authenticator.identify(call(token="x.18446744073709551615"))
    assert isinstance(found, Pending)
    scene.raft.reads[0].set_result(None)
    assert isinstance(found.exception(), InvalidToken)


def test_a_common_name_stands_for_a_user_without_a_token() -> None:
    scene = Scene()
    assert scene.authenticator.identify(call("u")) == scene.identity("u")
    token = scene.log_in("v")
    assert scene.authenticator.identify(call("u", token=token)) == scene.identity("v")


def test_a_common_name_counts_only_with_client_cert_auth_and_not_through_the_gateway() -> None:
    assert Scene(certificates=False).authenticator.identify(call("root")) == ANONYMOUS
    through = call("root", **{"grpcgateway-accept": "application/json"})
    assert Scene().authenticator.identify(through) == ANONYMOUS


def test_a_call_with_neither_is_anonymous() -> None:
    assert Scene().authenticator.identify(call()) == ANONYMOUS


def test_a_call_that_waited_is_refused_by_the_users_of_now() -> None:
    scene, anonymous, user = Scene(), call(), call(token="u".ljust(16, "x") + ".1")
    scene.auth.disable(scene.records)
    scene.authenticator.require_user(anonymous)
    scene.auth.enable(scene.records)
    with pytest.raises(UserNameEmpty):
        scene.authenticator.require_user(anonymous)
    with pytest.raises(InvalidToken):
        scene.authenticator.require_user(user)
    scene.log_in("u")
    scene.authenticator.require_user(user)
    assert user.identity == scene.identity("u")


# The guard


def guarded(scene: Scene, permission: Permission) -> Any:
    """Calls a method with this requirement; returns the identity it saw."""

    def run(request: Any, call: Call) -> Response:
        return f"{call.identity.user}@{call.identity.revision}".encode()

    method = scene.guard.wrap(Unary(rpc.RangeRequest, run), Requirements(permission))
    assert isinstance(method, Unary)
    return method.call


ALARM, DISARM = rpc.AlarmRequest(), rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE)


@pytest.mark.parametrize(
    ("permission", "request_", "user", "error"),
    [
        (Permission.VALID_TOKEN, None, "", None),
        (Permission.KEYS, None, "", None),
        (Permission.USER, None, "", UserNameEmpty),
        (Permission.USER, None, "u", None),
        (Permission.LEASE_KEYS, None, "", UserNameEmpty),
        (Permission.ROOT, None, "", UserNameEmpty),
        (Permission.ROOT, None, "u", PermissionDenied),
        (Permission.ROOT, None, "root", None),
        (Permission.ROOT_TO_CHANGE, ALARM, "", UserNameEmpty),
        (Permission.ROOT_TO_CHANGE, ALARM, "u", None),
        (Permission.ROOT_TO_CHANGE, DISARM, "u", PermissionDenied),
        (Permission.ROOT_TO_CHANGE, DISARM, "root", None),
        (Permission.ROOT_OR_SELF, None, "", None),
    ],
)
def test_a_caller_is_admitted_by_the_permission_of_the_method(
    permission: Permission, request_: Any, user: str, error: type[Exception] | None
) -> None:
    scene = Scene()
    made = call(token=scene.log_in(user)) if user else call()
    run = guarded(scene, permission)
    if error is None:
        expected = f"{user}@{scene.auth.revision if user else 0}".encode()
        assert run(request_, made) == expected
    else:
        with pytest.raises(error):
            run(request_, made)


@pytest.mark.parametrize("permission", Permission)
def test_while_authentication_is_off_no_token_is_checked(
    permission: Permission,
) -> None:
    scene = Scene()
    scene.auth.disable(scene.records)
    assert guarded(scene, permission)(ALARM, call(token="stale.1")) == b"@0"


def test_a_call_waits_for_the_login_that_is_not_applied_here_yet() -> None:
    scene = Scene()
    answer = guarded(scene, Permission.USER)(None, call(token="u".ljust(16, "x") + ".9"))
    scene.log_in("u", 9)
    scene.raft.reads[0].set_result(None)
    assert answer.result() == f"u@{scene.auth.revision}".encode()


# A member that is behind


def admitted(scene: Scene, path: str, request: Any, made: Call) -> Response:
    """Calls a method with the requirements of `path`; returns the identity it saw."""

    def run(request: Any, call: Call) -> Response:
        return f"{call.identity.user}@{call.identity.revision}".encode()

    method = scene.guard.wrap(Unary(rpc.RangeRequest, run), REQUIREMENTS[path])
    assert isinstance(method, Unary)
    return method.call(request, made)


#: Requests that etcd decides behind a read index or when it applies them.
DECIDED_LATER = {
    "Auth/UserDelete": rpc.AuthUserDeleteRequest(name="v"),
    "Auth/AuthDisable": rpc.AuthDisableRequest(),
    "Auth/RoleGrantPermission": rpc.AuthRoleGrantPermissionRequest(),
    "Cluster/MemberList": rpc.MemberListRequest(linearizable=True),
}
#: Requests that etcd decides by what the asked member has applied.
DECIDED_AT_ONCE = {
    "Cluster/MemberList": rpc.MemberListRequest(),
    "Lease/LeaseGrant": rpc.LeaseGrantRequest(),
    "Maintenance/Defragment": rpc.DefragmentRequest(),
    "KV/Compact": rpc.CompactionRequest(),
}


@pytest.mark.parametrize("name", DECIDED_LATER)
def test_nobody_is_admitted_once_the_member_learns_that_authentication_is_off(name: str) -> None:
    scene = Scene()
    answer: Any = admitted(scene, f"/etcdserverpb.{name}", DECIDED_LATER[name], call())
    assert not answer.done()
    scene.auth.disable(scene.records)
    scene.raft.reads[0].set_result(None)
    assert answer.result() == b"@0"


@pytest.mark.parametrize("name", DECIDED_LATER)
def test_a_refusal_that_a_read_index_confirms_is_answered(name: str) -> None:
    scene = Scene()
    answer: Any = admitted(scene, f"/etcdserverpb.{name}", DECIDED_LATER[name], call())
    scene.raft.reads[0].set_result(None)
    assert isinstance(answer.exception(), UserNameEmpty)
    assert len(scene.raft.reads) == 1


@pytest.mark.parametrize("name", DECIDED_AT_ONCE)
def test_a_refusal_that_etcd_does_not_confirm_is_answered_at_once(name: str) -> None:
    scene = Scene()
    with pytest.raises(UserNameEmpty):
        admitted(scene, f"/etcdserverpb.{name}", DECIDED_AT_ONCE[name], call())
    assert scene.raft.reads == []


def test_a_user_is_admitted_once_the_member_learns_that_it_has_the_role_root() -> None:
    scene = Scene()
    made = call(token=scene.log_in("v"))
    answer: Any = admitted(scene, "/etcdserverpb.Auth/UserDelete", None, made)
    scene.auth.grant_role(scene.records, "v", "root")
    scene.raft.reads[0].set_result(None)
    assert answer.result() == f"v@{scene.auth.revision}".encode()


def test_an_admitted_call_waits_for_nothing() -> None:
    scene = Scene()
    made = call(token=scene.log_in("root"))
    assert isinstance(admitted(scene, "/etcdserverpb.Auth/UserDelete", None, made), bytes)
    assert scene.raft.reads == []


READ = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
LOCAL_READ = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k", serializable=True))
WRITE = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k"))


@pytest.mark.parametrize(
    ("name", "request_", "waits"),
    [
        ("Range", rpc.RangeRequest(key=b"k"), True),
        ("Range", rpc.RangeRequest(key=b"k", serializable=True), False),
        ("Txn", rpc.TxnRequest(success=[READ]), True),
        ("Txn", rpc.TxnRequest(success=[LOCAL_READ]), False),
        ("Txn", rpc.TxnRequest(success=[READ, WRITE]), False),
        ("Put", rpc.PutRequest(key=b"k"), False),
    ],
)
def test_a_linearizable_read_with_an_ended_token_is_served_if_authentication_is_off_by_then(
    name: str, request_: Any, waits: bool
) -> None:
    scene = Scene()
    path, made = f"/etcdserverpb.KV/{name}", call(token="ended.1")
    if not waits:
        with pytest.raises(InvalidToken):
            admitted(scene, path, request_, made)
        return
    answer: Any = admitted(scene, path, request_, made)
    scene.auth.disable(scene.records)
    scene.raft.reads[0].set_result(None)
    assert answer.result() == b"@0"


def test_a_member_that_reaches_no_leader_answers_that_instead_of_a_refusal() -> None:
    scene = Scene()
    answer: Any = admitted(scene, "/etcdserverpb.Auth/UserDelete", None, call())
    scene.raft.reads[0].set_exception(TIMEOUT())
    assert answer.exception().message == TIMEOUT.message


class Responses:
    def __init__(self) -> None:
        self.error: Exception | None = None

    def send(self, message: bytes) -> None: ...
    def ready(self) -> bool:
        return True

    def finish(self, error: Exception | None = None) -> None:
        self.error = error


class Handler:
    def __init__(self) -> None:
        self.events: list[str] = []

    def received(self, request: Any) -> None: ...
    def half_closed(self) -> None:
        self.events.append("half closed")

    def drained(self) -> None:
        self.events.append("drained")

    def closed(self) -> None:
        self.events.append("closed")


def stream(scene: Scene, responses: Responses, **metadata: str) -> tuple[Any, list[Handler]]:
    opened: list[Handler] = []

    def start(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
        opened.append(Handler())
        return opened[-1]

    method = scene.guard.wrap(
        ServerStream(rpc.SnapshotRequest, start), Requirements(Permission.ROOT)
    )
    assert isinstance(method, ServerStream)
    return method.open(rpc.SnapshotRequest(), call(**metadata), responses), opened


def test_a_stream_is_refused_when_it_is_opened() -> None:
    scene = Scene()
    with pytest.raises(PermissionDenied):
        stream(scene, Responses(), token=scene.log_in("u"))


def test_a_stream_begins_once_its_caller_is_identified() -> None:
    scene, responses = Scene(), Responses()
    handler, opened = stream(scene, responses, token="root".ljust(16, "x") + ".9")
    assert opened == []
    scene.log_in("root", 9)
    scene.raft.reads[0].set_result(None)
    handler.drained()
    handler.closed()
    assert opened[0].events == ["drained", "closed"]


@pytest.mark.parametrize("user", ["u", "nobody"])
def test_a_stream_whose_caller_is_refused_later_ends_with_the_refusal(user: str) -> None:
    scene, responses = Scene(), Responses()
    handler, opened = stream(scene, responses, token=user.ljust(16, "x") + ".9")
    if user == "u":
        scene.log_in("u", 9)
    scene.raft.reads[0].set_result(None)
    expected = PermissionDenied if user == "u" else InvalidToken
    assert isinstance(responses.error, expected)
    handler.closed()
    assert opened == []


def test_a_stream_that_is_closed_before_begins_never() -> None:
    scene, responses = Scene(), Responses()
    handler, opened = stream(scene, responses, token="root".ljust(16, "x") + ".9")
    handler.closed()
    scene.log_in("root", 9)
    scene.raft.reads[0].set_result(None)
    assert opened == [] and responses.error is None


def test_a_stream_of_a_range_begins_if_authentication_is_off_behind_its_read_index() -> None:
    scene, opened = Scene(), []

    def start(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
        opened.append(call.identity)
        return Handler()

    path = "/etcdserverpb.KV/RangeStream"
    method = scene.guard.wrap(ServerStream(rpc.RangeRequest, start), REQUIREMENTS[path])
    assert isinstance(method, ServerStream)
    made, local = call(token="ended.1"), rpc.RangeRequest(serializable=True)
    with pytest.raises(InvalidToken):
        method.open(local, made, Responses())
    method.open(rpc.RangeRequest(), made, Responses())
    scene.auth.disable(scene.records)
    scene.raft.reads[0].set_result(None)
    assert opened == [ANONYMOUS]


def test_every_method_states_what_it_requires() -> None:
    """Only the health service, and logging in, are open to anybody; locks and elections are made of
    calls that check their caller.
    """
    open_to_anybody = {
        path
        for path, row in REQUIREMENTS.items()
        if row.permission is Permission.NONE
        and not path.startswith(("/v3lockpb.Lock/", "/v3electionpb.Election/"))
    }
    assert open_to_anybody == {
        "/etcdserverpb.Auth/Authenticate",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    }
