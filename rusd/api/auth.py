"""etcdserverpb.Auth: users, roles, permissions, and logins.

Changes are proposed and answered from this member's own apply; questions wait for a read index, and
are then checked and answered from the local state (etcd sends those through the log; the answers
are the same).

Passwords stay in the member that was asked: it hashes or compares them in a thread, and proposes
the hash or the bare login. A login is retried if users or roles changed between the comparison and
its apply, since the password may have been changed. The password of an unknown user is compared
with the hash of another one, so that the time of the answer does not tell whether a user exists.
"""

import base64
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.message import Message

from rusd.auth.errors import AuthenticationFailed, InvalidAuthManagement
from rusd.auth.login_limit import LoginLimit, address_of
from rusd.auth.passwords import MAX_LENGTH
from rusd.auth.providers import TokenProvider
from rusd.auth.records import MAX_NAME, Identity
from rusd.base.chunks import Encoded, whole
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Features, Proposer, ReadIndex
from rusd.rpc.call import Call
from rusd.rpc.errors import MEMBER_TOO_OLD, TOO_MANY_REQUESTS
from rusd.rpc.methods import Methods, Unary
from rusd.rpc.responses import Response
from rusd.rpc.signing import signed
from rusd.state.auth_records import permission_message
from rusd.state.command import USERS_AND_ROLES, Kind, Login, encode
from rusd.state.interface import WithKeys, WithUsers
from rusd.state.result import Applied
from rusd.wire.header import Headers

log = get_logger(__name__)
failed_logins = LimitedLog(log)


class Node(Features, Proposer, ReadIndex, Protocol):
    """The part of the Raft node that this room uses."""


class Machine(WithKeys, WithUsers, Protocol):
    """The part of the state machine in use."""


class Passwords(Protocol):
    """bcrypt in threads (rusd/api/password_work.py). Raises TOO_MANY_REQUESTS if too much waits."""

    async def hash(self, password: str, address: str) -> bytes:
        """Hash a password for the client at `address`. Raises PasswordTooLong."""

    async def check(
        self, password: str, hashed: bytes | None, address: str, permit: Callable[[], None]
    ) -> bool:
        """Return whether `hashed` is of this password. Calls `permit` before it compares them."""


_CHANGES: dict[str, tuple[Kind, type[Message]]] = {
    "AuthEnable": (Kind.AUTH_ENABLE, rpc.AuthEnableRequest),
    "AuthDisable": (Kind.AUTH_DISABLE, rpc.AuthDisableRequest),
    "UserDelete": (Kind.USER_DELETE, rpc.AuthUserDeleteRequest),
    "UserGrantRole": (Kind.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest),
    "UserRevokeRole": (Kind.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest),
    "RoleDelete": (Kind.ROLE_DELETE, rpc.AuthRoleDeleteRequest),
    "RoleGrantPermission": (Kind.ROLE_GRANT_PERMISSION, rpc.AuthRoleGrantPermissionRequest),
    "RoleRevokePermission": (Kind.ROLE_REVOKE_PERMISSION, rpc.AuthRoleRevokePermissionRequest),
}


def _check_name(request: rpc.AuthUserAddRequest | rpc.AuthRoleAddRequest) -> None:
    """Raises InvalidAuthManagement if the name is longer than MAX_NAME."""
    if len(request.name.encode()) > MAX_NAME:
        raise InvalidAuthManagement


class AuthService:
    """etcdserverpb.Auth."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        headers: Headers,
        tokens: TokenProvider,
        passwords: Passwords,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._node = node
        self._machine = machine
        self._auth = machine.auth
        self._headers = headers
        self._tokens = tokens
        self._passwords = passwords
        self._clock = clock
        self._limit = LoginLimit()
        #: Logins with an unknown user or a wrong password.
        self.failed_logins = 0

    def methods(self) -> Methods:
        """The service by gRPC path."""
        changes = {
            name: Unary(request, self._changing(kind)) for name, (kind, request) in _CHANGES.items()
        }
        methods: Methods = {
            **changes,
            "RoleAdd": Unary(rpc.AuthRoleAddRequest, self._changing(Kind.ROLE_ADD), _check_name),
            "AuthStatus": self._question(rpc.AuthStatusRequest, self._no_check, self._status),
            "Authenticate": Unary(rpc.AuthenticateRequest, self.authenticate),
            "UserAdd": Unary(rpc.AuthUserAddRequest, self.user_add, _check_name),
            "UserChangePassword": Unary(
                rpc.AuthUserChangePasswordRequest, self.user_change_password
            ),
            "UserGet": self._question(rpc.AuthUserGetRequest, self._root_or_user, self._user_get),
            "UserList": self._question(rpc.AuthUserListRequest, self._root, self._user_list),
            "RoleGet": self._question(rpc.AuthRoleGetRequest, self._root_or_holder, self._role_get),
            "RoleList": self._question(rpc.AuthRoleListRequest, self._root, self._role_list),
        }
        return {f"/etcdserverpb.Auth/{name}": method for name, method in methods.items()}

    # Logins

    async def authenticate(self, request: rpc.AuthenticateRequest, call: Call) -> bytes:
        """Return a token for a user and its password. Raises TOO_MANY_REQUESTS after too many
        failures of this user at this address; otherwise as `_check_password`.
        """
        name, auth = request.name, self._auth
        # What does not count is not kept while the call waits, and nothing longer than needed.
        password = request.password[:MAX_LENGTH]
        request.ClearField("password")
        call.raw = b""
        await self._node.read_index()
        while True:
            revision = auth.revision
            await self._check_password(name, password, call)
            login = Login(name, self._tokens.prefix())
            applied: Applied = await self._node.propose(encode(Kind.AUTHENTICATE, login.encode()))
            if auth.revision == revision:
                break
            log.info("revision when password checked became stale; retrying")
        issued = rpc.AuthenticateResponse.FromString(whole(applied.body)).token
        token = self._tokens.token(issued, Identity(name, revision))
        body = rpc.AuthenticateResponse(token=token).SerializeToString()
        return self._headers.field(applied.revision) + body

    async def _check_password(self, name: str, password: str, call: Call) -> None:
        """Raises AuthNotEnabled, NoPasswordUser, AuthenticationFailed or TOO_MANY_REQUESTS."""
        address = address_of(call.caller.address)

        def permit() -> None:
            if not self._limit.permits(name, address, self._clock()):
                raise TOO_MANY_REQUESTS()

        try:
            hashed: bytes | None = self._auth.login(name).password
            known = True
        except AuthenticationFailed:
            hashed, known = self._auth.decoy(name), False
        permit()
        # (Once more when its turn has come: the failures of calls that waited before it count.)
        fits = await self._passwords.check(password, hashed, address, permit)
        if fits and known:
            self._limit.succeeded(name, address)
            return
        self.failed_logins += 1
        self._limit.failed(name, address, self._clock())
        failed_logins.warning(
            "invalid authentication was requested", {"user": name, "remote": call.caller.address}
        )
        raise AuthenticationFailed

    # Changes

    async def user_add(self, request: rpc.AuthUserAddRequest, call: Call) -> Encoded:
        """Replicated, with the hash in place of the password."""
        if request.options.no_password:
            complete = rpc.AuthUserAddRequest(name=request.name, options=request.options)
        else:
            hashed = await self._hash(request, call)
            complete = rpc.AuthUserAddRequest(
                name=request.name, hashedPassword=hashed, options=request.options
            )
        return await self._change(Kind.USER_ADD, complete.SerializeToString(), call)

    async def user_change_password(
        self, request: rpc.AuthUserChangePasswordRequest, call: Call
    ) -> Encoded:
        """Replicated, with the hash in place of the password. Without a password the request's own
        hash is taken, as in etcd.
        """
        hashed = request.hashedPassword
        if request.password:
            hashed = await self._hash(request, call)
        complete = rpc.AuthUserChangePasswordRequest(name=request.name, hashedPassword=hashed)
        return await self._change(Kind.USER_CHANGE_PASSWORD, complete.SerializeToString(), call)

    async def _hash(self, request: Any, call: Call) -> str:
        """Hash the request's password, and clear it in the request."""
        password = request.password
        request.ClearField("password")
        call.raw = b""
        hashed = await self._passwords.hash(password, address_of(call.caller.address))
        return base64.b64encode(hashed).decode()

    def _changing(self, kind: Kind) -> Callable[[Any, Call], Response]:
        def change(request: Message, call: Call) -> Response:
            return self._change(kind, call.raw or request.SerializeToString(), call)

        return change

    def _change(self, kind: Kind, body: bytes, call: Call) -> Pending[Encoded]:
        """Propose a change. Raises MEMBER_TOO_OLD if a member runs a release that would skip it."""
        if not self._node.can_apply(USERS_AND_ROLES):
            raise MEMBER_TOO_OLD()
        return self._node.propose(signed(call, encode(kind, body))).then(self._answer)

    def _answer(self, applied: Applied) -> bytes:
        return self._headers.field(applied.revision) + whole(applied.body)

    # Questions

    def _question(
        self,
        kind: type[Message],
        check: Callable[[Identity, Any], None],
        answer: Callable[[Any], Message],
    ) -> Unary:
        """Return a read-only method. `check` raises an AuthError if the caller may not use it."""

        def ask(request: Any, call: Call) -> Response:
            def finish(_: None) -> bytes:
                check(call.identity, request)
                encoded = answer(request).SerializeToString()
                return self._headers.field(self._machine.store.revision) + encoded

            return self._node.read_index().then(finish)

        return Unary(kind, ask)

    def _no_check(self, identity: Identity, request: Message) -> None: ...

    def _root(self, identity: Identity, request: Message) -> None:
        self._auth.check_root(identity)

    def _root_or_user(self, identity: Identity, request: rpc.AuthUserGetRequest) -> None:
        if request.name != identity.user:
            self._auth.check_root(identity)

    def _root_or_holder(self, identity: Identity, request: rpc.AuthRoleGetRequest) -> None:
        if not self._auth.has_role(identity.user, request.role):
            self._auth.check_root(identity)

    def _status(self, request: rpc.AuthStatusRequest) -> Message:
        return rpc.AuthStatusResponse(enabled=self._auth.enabled, authRevision=self._auth.revision)

    def _user_get(self, request: rpc.AuthUserGetRequest) -> Message:
        return rpc.AuthUserGetResponse(roles=self._auth.user(request.name).roles)

    def _user_list(self, request: rpc.AuthUserListRequest) -> Message:
        return rpc.AuthUserListResponse(users=self._auth.users())

    def _role_get(self, request: rpc.AuthRoleGetRequest) -> Message:
        permissions = self._auth.role(request.role).permissions
        return rpc.AuthRoleGetResponse(perm=map(permission_message, permissions))

    def _role_list(self, request: rpc.AuthRoleListRequest) -> Message:
        return rpc.AuthRoleListResponse(roles=self._auth.roles())
