"""Commands on users, roles and permissions: the changing requests of etcd's Auth service.

All but AUTHENTICATE need the role `root` while authentication is enabled. AUTHENTICATE carries a
user name and the random part of a simple token (none with JSON Web Tokens). The member that
proposed it has checked the password before, and compares the auth revision after: a password that
changed in between is checked again. No password is ever in the log.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from rusd.auth import errors
from rusd.auth.records import Identity, Session, User
from rusd.auth.store import AuthStore
from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state.auth_records import BatchRecords, permission_of
from rusd.state.command import Kind, Login
from rusd.state.context import ApplyContext, Handler
from rusd.state.result import Applied

_Change = Callable[[AuthStore, BatchRecords, Any], Message]


class AuthCommands:
    """Handlers of the commands that change users, roles or permissions."""

    def __init__(self, auth: AuthStore, context: ApplyContext) -> None:
        self._auth = auth
        self._context = context

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by kind of command."""
        found = {
            kind: Handler(request.FromString, self._applying(change), self._permit_root)
            for kind, (request, change) in _CHANGES.items()
        }
        return {**found, Kind.AUTHENTICATE: Handler(Login.decode, self._authenticate)}

    def _permit_root(self, identity: Identity, request: Message) -> None:
        self._auth.check_root(identity)

    def _applying(self, change: _Change) -> Callable[[Writer, Any, bool], Applied]:
        def apply(writer: Writer, request: Any, wanted: bool) -> Applied:
            before = self._auth.revision, self._auth.enabled
            response = change(self._auth, BatchRecords(writer.batch), request)
            if (self._auth.revision, self._auth.enabled) != before:
                self._context.after_commit(lambda listeners: listeners.auth_changed())
            return Applied(writer.revision, response.SerializeToString())

        return apply

    def _authenticate(self, writer: Writer, request: Login, wanted: bool) -> Applied:
        try:
            user = self._auth.login(request.user)
        except errors.NoPasswordUser:
            raise errors.AuthenticationFailed from None
        session = Session(user.name, request.token_prefix, self._context.index)
        self._context.after_commit(lambda listeners: listeners.session(session))
        token = session.token if session.prefix else ""
        body = rpc.AuthenticateResponse(token=token).SerializeToString()
        return Applied(writer.revision, body)


def password_hash(encoded: str) -> bytes:
    """The bcrypt hash of a request's `hashedPassword`. NoPasswordUser if it is not base64."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise errors.NoPasswordUser from None


def _enable(auth: AuthStore, records: BatchRecords, request: rpc.AuthEnableRequest) -> Message:
    auth.enable(records)
    return rpc.AuthEnableResponse()


def _disable(auth: AuthStore, records: BatchRecords, request: rpc.AuthDisableRequest) -> Message:
    auth.disable(records)
    return rpc.AuthDisableResponse()


def _user_add(auth: AuthStore, records: BatchRecords, request: rpc.AuthUserAddRequest) -> Message:
    without = request.options.no_password
    # Its name is looked at first, as in etcd.
    auth.check_new_user(request.name)
    hashed = b"" if without else password_hash(request.hashedPassword)
    auth.add_user(records, User(request.name, hashed, (), without))
    return rpc.AuthUserAddResponse()


def _user_delete(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthUserDeleteRequest
) -> Message:
    auth.delete_user(records, request.name)
    return rpc.AuthUserDeleteResponse()


def _user_password(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthUserChangePasswordRequest
) -> Message:
    hashed = b"" if auth.user(request.name).no_password else password_hash(request.hashedPassword)
    auth.change_password(records, request.name, hashed)
    return rpc.AuthUserChangePasswordResponse()


def _user_grant(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthUserGrantRoleRequest
) -> Message:
    auth.grant_role(records, request.user, request.role)
    return rpc.AuthUserGrantRoleResponse()


def _user_revoke(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthUserRevokeRoleRequest
) -> Message:
    auth.revoke_role(records, request.name, request.role)
    return rpc.AuthUserRevokeRoleResponse()


def _role_add(auth: AuthStore, records: BatchRecords, request: rpc.AuthRoleAddRequest) -> Message:
    auth.add_role(records, request.name)
    return rpc.AuthRoleAddResponse()


def _role_delete(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthRoleDeleteRequest
) -> Message:
    auth.delete_role(records, request.role)
    return rpc.AuthRoleDeleteResponse()


def _role_grant(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthRoleGrantPermissionRequest
) -> Message:
    given = permission_of(request.perm) if request.HasField("perm") else None
    auth.grant_permission(records, request.name, given)
    return rpc.AuthRoleGrantPermissionResponse()


def _role_revoke(
    auth: AuthStore, records: BatchRecords, request: rpc.AuthRoleRevokePermissionRequest
) -> Message:
    auth.revoke_permission(records, request.role, request.key, request.range_end)
    return rpc.AuthRoleRevokePermissionResponse()


_CHANGES: dict[int, tuple[type[Message], _Change]] = {
    Kind.AUTH_ENABLE: (rpc.AuthEnableRequest, _enable),
    Kind.AUTH_DISABLE: (rpc.AuthDisableRequest, _disable),
    Kind.USER_ADD: (rpc.AuthUserAddRequest, _user_add),
    Kind.USER_DELETE: (rpc.AuthUserDeleteRequest, _user_delete),
    Kind.USER_CHANGE_PASSWORD: (rpc.AuthUserChangePasswordRequest, _user_password),
    Kind.USER_GRANT_ROLE: (rpc.AuthUserGrantRoleRequest, _user_grant),
    Kind.USER_REVOKE_ROLE: (rpc.AuthUserRevokeRoleRequest, _user_revoke),
    Kind.ROLE_ADD: (rpc.AuthRoleAddRequest, _role_add),
    Kind.ROLE_DELETE: (rpc.AuthRoleDeleteRequest, _role_delete),
    Kind.ROLE_GRANT_PERMISSION: (rpc.AuthRoleGrantPermissionRequest, _role_grant),
    Kind.ROLE_REVOKE_PERMISSION: (rpc.AuthRoleRevokePermissionRequest, _role_revoke),
}
