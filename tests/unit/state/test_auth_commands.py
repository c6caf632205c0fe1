"""Users, roles and permissions as the replicated state: applied, refused, stored, restored."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.auth import errors
from rusd.auth.records import ANONYMOUS, MAX_NAME, Identity, Session
from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import MAX_SIGNED_NAME, Kind, Login, encode, sign, unsign
from rusd.state.errors import Corrupt, NoSpace
from rusd.state.result import Applied
from tests.unit.state.driver import Driver, delete_op, put_op, restore

HASH = base64.b64encode(b"$2a$04$hash").decode()
READ, WRITE, READWRITE = range(3)


class AuthDriver(Driver):
    """With `root` and the user `u`, whose role `r` reads a to m and writes g to z."""

    def become(self, kind: Kind, **fields: object) -> None:
        """A change of users or roles, by root."""
        request = {
            Kind.USER_ADD: rpc.AuthUserAddRequest,
            Kind.USER_DELETE: rpc.AuthUserDeleteRequest,
            Kind.USER_CHANGE_PASSWORD: rpc.AuthUserChangePasswordRequest,
            Kind.USER_GRANT_ROLE: rpc.AuthUserGrantRoleRequest,
            Kind.ROLE_ADD: rpc.AuthRoleAddRequest,
            Kind.ROLE_DELETE: rpc.AuthRoleDeleteRequest,
            Kind.ROLE_GRANT_PERMISSION: rpc.AuthRoleGrantPermissionRequest,
            Kind.AUTH_ENABLE: rpc.AuthEnableRequest,
            Kind.AUTH_DISABLE: rpc.AuthDisableRequest,
        }[kind](**fields)  # type: ignore[arg-type]
        self.as_user("root", kind, request.SerializeToString())

    def as_user(self, user: str, kind: Kind, body: bytes, revision: int = 0) -> Applied:
        """A proposal of `user`, at the auth revision of now or the one given; its refusal is
        raised.
        """
        identity = Identity(user, revision or self.machine.auth.revision) if user else ANONYMOUS
        (result,) = self.apply_payloads([sign(identity, encode(kind, body))])
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Applied)
        return result

    def populate(self) -> None:
        for user in ("root", "u"):
            self.become(Kind.USER_ADD, name=user, hashedPassword=HASH)
        self.become(Kind.USER_GRANT_ROLE, user="root", role="root")
        self.become(Kind.ROLE_ADD, name="r")
        self.become(Kind.USER_GRANT_ROLE, user="u", role="r")
        self.permit(READ, b"a", b"m")
        self.permit(WRITE, b"g", b"z")
        self.become(Kind.AUTH_ENABLE)

    def permit(self, access: int, key: bytes, range_end: bytes) -> None:
        given = auth_pb2.Permission(key=key, range_end=range_end)
        given.permType = access  # type: ignore[assignment]
        self.become(Kind.ROLE_GRANT_PERMISSION, name="r", perm=given)


@pytest.fixture
def auth(tmp_path: Path) -> Iterator[AuthDriver]:
    driver = AuthDriver(tmp_path / "state")
    driver.populate()
    yield driver
    driver.machine.close()


def put(key: bytes, **options: object) -> bytes:
    return rpc.PutRequest(key=key, **options).SerializeToString()  # type: ignore[arg-type]


def delete(key: bytes, range_end: bytes = b"", prev_kv: bool = False) -> bytes:
    return rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv).SerializeToString()


def txn(**parts: object) -> bytes:
    return rpc.TxnRequest(**parts).SerializeToString()  # type: ignore[arg-type]


def range_op(key: bytes, range_end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key, range_end=range_end))


def nested(*operations: rpc.RequestOp) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(failure=operations))


def compare(key: bytes, range_end: bytes = b"") -> rpc.Compare:
    return rpc.Compare(key=key, range_end=range_end)


PERMITTED = [
    (Kind.PUT, put(b"g")),
    (Kind.PUT, put(b"y")),
    (Kind.PUT, put(b"h", prev_kv=True)),
    (Kind.DELETE_RANGE, delete(b"g", b"z")),
    (Kind.DELETE_RANGE, delete(b"g", b"m", prev_kv=True)),
    (Kind.TXN, txn(compare=[compare(b"a", b"m")], success=[put_op(b"g")])),
    (Kind.TXN, txn(success=[range_op(b"b"), nested(put_op(b"h"))])),
    (Kind.TXN, txn()),
]
DENIED = [
    (Kind.PUT, put(b"a")),
    (Kind.PUT, put(b"z")),
    (Kind.PUT, put(b"y", prev_kv=True)),
    (Kind.DELETE_RANGE, delete(b"g", b"\0")),
    (Kind.DELETE_RANGE, delete(b"a", b"h")),
    (Kind.DELETE_RANGE, delete(b"g", b"z", prev_kv=True)),
    (Kind.TXN, txn(compare=[compare(b"n")])),
    (Kind.TXN, txn(compare=[compare(b"a", b"\0")])),
    # The branch that is not taken counts as well.
    (Kind.TXN, txn(success=[put_op(b"g")], failure=[put_op(b"a")])),
    (Kind.TXN, txn(success=[nested(range_op(b"n"))])),
    (Kind.TXN, txn(success=[nested(nested(delete_op(b"a")))])),
    (Kind.TXN, txn(success=[delete_op(b"g", b"\0")])),
    (Kind.AUTH_DISABLE, b""),
    (Kind.USER_ADD, rpc.AuthUserAddRequest(name="x").SerializeToString()),
    (Kind.ROLE_ADD, rpc.AuthRoleAddRequest(name="x").SerializeToString()),
]


@pytest.mark.parametrize(("kind", "body"), PERMITTED)
def test_what_the_roles_of_a_user_permit_is_applied(
    auth: AuthDriver, kind: Kind, body: bytes
) -> None:
    auth.as_user("u", kind, body)


@pytest.mark.parametrize(("kind", "body"), DENIED)
def test_what_no_role_permits_is_refused_and_changes_nothing(
    auth: AuthDriver, kind: Kind, body: bytes
) -> None:
    before = auth.machine.store.revision, auth.machine.auth.revision
    with pytest.raises(errors.PermissionDenied):
        auth.as_user("u", kind, body)
    assert (auth.machine.store.revision, auth.machine.auth.revision) == before


@pytest.mark.parametrize(("kind", "body"), [*PERMITTED[:-1], *DENIED])
def test_a_proposal_without_identity_is_refused(auth: AuthDriver, kind: Kind, body: bytes) -> None:
    for payload in (encode(kind, body), sign(ANONYMOUS, encode(kind, body))):
        (result,) = auth.apply_payloads([payload])
        assert isinstance(result, errors.UserNameEmpty)


def test_a_permission_that_was_revoked_before_a_write_in_the_log_does_not_permit_it(
    auth: AuthDriver,
) -> None:
    identity = Identity("u", auth.machine.auth.revision)
    delete_role = rpc.AuthRoleDeleteRequest(role="r").SerializeToString()
    root = Identity("root", auth.machine.auth.revision)
    deleted, refused = auth.apply_payloads(
        [
            sign(root, encode(Kind.ROLE_DELETE, delete_role)),
            sign(identity, encode(Kind.PUT, put(b"g"))),
        ]
    )
    assert isinstance(deleted, Applied)
    assert isinstance(refused, errors.OldRevision)


def test_root_may_do_everything(auth: AuthDriver) -> None:
    for kind, body in (*PERMITTED, *DENIED[:-3]):
        auth.as_user("root", kind, body)


def test_a_lease_may_be_attached_or_revoked_by_those_that_write_all_its_keys(
    auth: AuthDriver,
) -> None:
    for lease, key in ((1, b"g"), (2, b"a")):
        auth.as_user(
            "root", Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=60).SerializeToString()
        )
        auth.as_user("root", Kind.PUT, put(key, lease=lease))
    auth.as_user("u", Kind.PUT, put(b"h", lease=1))
    auth.as_user("u", Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=1).SerializeToString())
    for kind, body in (
        (Kind.PUT, put(b"h", lease=2)),
        (Kind.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=2).SerializeToString()),
        (Kind.TXN, txn(success=[put_op(b"h", lease=2)])),
    ):
        with pytest.raises(errors.PermissionDenied):
            auth.as_user("u", kind, body)
    assert auth.machine.leases.get(2)


def test_proposals_of_members_need_no_identity(auth: AuthDriver) -> None:
    auth.apply(Kind.CLUSTER_VERSION, b"3.6.0")
    auth.alarm(rpc.AlarmRequest.ACTIVATE, 1, rpc.NOSPACE)


def test_users_and_roles_survive_a_restart(auth: AuthDriver) -> None:
    revision = auth.machine.auth.revision
    auth.restart()
    assert (auth.machine.auth.enabled, auth.machine.auth.revision) == (True, revision)
    auth.as_user("u", Kind.PUT, put(b"g"))
    with pytest.raises(errors.PermissionDenied):
        auth.as_user("u", Kind.PUT, put(b"a"))


def test_users_and_roles_come_with_a_snapshot(auth: AuthDriver, tmp_path: Path) -> None:
    assert auth.machine.checkpoint(tmp_path / "checkpoint")
    heard: list[str] = []
    other = AuthDriver(tmp_path / "other")
    other.listen(auth_changed=lambda: heard.append("changed"))
    restore(other.machine, tmp_path / "checkpoint")
    assert heard == ["changed"]
    assert other.machine.auth.users() == ["root", "u"]
    with pytest.raises(errors.PermissionDenied):
        other.as_user("u", Kind.PUT, put(b"a"))
    other.machine.close()


def test_a_login_gives_every_member_the_session_and_the_client_its_token(auth: AuthDriver) -> None:
    heard: list[Session] = []
    auth.listen(session=heard.append)
    applied = auth.apply(Kind.AUTHENTICATE, Login("u", "x" * 16).encode())
    index = auth.machine.positions()[0].index
    assert heard == [Session("u", "x" * 16, index)]
    assert rpc.AuthenticateResponse.FromString(applied.body).token == "x" * 16 + f".{index}"


def test_a_login_of_a_user_that_is_gone_or_has_no_password_is_refused(auth: AuthDriver) -> None:
    options = auth_pb2.UserAddOptions(no_password=True)
    auth.become(Kind.USER_ADD, name="n", options=options)
    for user in ("nobody", "n"):
        (refused,) = auth.apply_payloads([encode(Kind.AUTHENTICATE, Login(user, "x").encode())])
        assert isinstance(refused, errors.AuthenticationFailed)


def test_a_password_hash_that_is_not_base64_is_refused(auth: AuthDriver) -> None:
    with pytest.raises(errors.NoPasswordUser):
        auth.become(Kind.USER_ADD, name="x", hashedPassword="!")
    assert auth.machine.auth.users() == ["root", "u"]


@pytest.mark.parametrize(
    ("alarm", "refusal"), [(rpc.NOSPACE, NoSpace), (rpc.CORRUPT, Corrupt)], ids=["space", "corrupt"]
)
def test_an_alarm_is_told_before_a_missing_permission(
    auth: AuthDriver, alarm: rpc.AlarmType.ValueType, refusal: type[Exception]
) -> None:
    raised = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=1, alarm=alarm)
    auth.as_user("root", Kind.ALARM, raised.SerializeToString())
    growing = [(Kind.PUT, put(b"a")), (Kind.TXN, txn(success=[put_op(b"a", b"v")]))]
    for user in ("u", ""):
        for kind, body in growing:
            with pytest.raises(refusal):
                auth.as_user(user, kind, body)
        with pytest.raises(Corrupt if alarm == rpc.CORRUPT else errors.AuthError):
            auth.as_user(user, Kind.DELETE_RANGE, delete(b"z"))


def test_an_identity_survives_its_encoding() -> None:
    longest = Identity("n" * MAX_SIGNED_NAME, 2**64 - 1)
    for identity in (ANONYMOUS, Identity("root", 1), Identity("\u20ac" * 1000, 1), longest):
        assert unsign(sign(identity, b"\1body")) == (identity, b"\1body")
    for cut in range(len(sign(Identity("root", 1), b"")) - 1):
        with pytest.raises(ValueError, match="signed proposal"):
            unsign(sign(Identity("root", 1), b"")[:cut])


def test_a_caller_with_a_name_longer_than_any_user_has_is_denied() -> None:
    """A certificate may hold a common name of any length."""
    with pytest.raises(errors.PermissionDenied):
        sign(Identity("n" * (MAX_SIGNED_NAME + 1), 1), b"")
    assert MAX_NAME <= MAX_SIGNED_NAME
