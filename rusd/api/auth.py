"""etcdserverpb.Auth while authentication is disabled and no users or roles exist.

Users and roles cannot be added: UserAdd and RoleAdd are UNIMPLEMENTED, and calls that name a user
or a role do not find it. Tokens are ignored, as in etcd while authentication is disabled. Every
response waits for a read index: etcd sends these calls through Raft.
"""

from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.message import Message

from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import ReadIndex
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    AUTH_NOT_ENABLED,
    PERMISSION_NOT_GIVEN,
    ROLE_EMPTY,
    ROLE_NOT_FOUND,
    ROOT_USER_NOT_EXIST,
    USER_EMPTY,
    USER_NOT_FOUND,
    USERS_NOT_SUPPORTED,
    Definition,
)
from rusd.rpc.methods import Methods, Unary
from rusd.rpc.responses import Response, after
from rusd.wire.header import Headers

#: The revision of etcd's auth store before its first change.
_FIRST_REVISION = 1


class Machine(Protocol):
    """The part of the state machine in use."""

    @property
    def store(self) -> Store: ...


class AuthService:
    """etcdserverpb.Auth while authentication is disabled."""

    def __init__(self, node: ReadIndex, machine: Machine, headers: Headers) -> None:
        self._node = node
        self._machine = machine
        self._headers = headers

    def methods(self) -> Methods:
        """gRPC path -> method."""
        refuse, refuse_unnamed, answer = self._refuse, self._refuse_unnamed, self._answer
        status = rpc.AuthStatusResponse(authRevision=_FIRST_REVISION)
        methods = {
            "AuthEnable": refuse(rpc.AuthEnableRequest, ROOT_USER_NOT_EXIST),
            "AuthDisable": answer(rpc.AuthDisableRequest, rpc.AuthDisableResponse()),
            "AuthStatus": answer(rpc.AuthStatusRequest, status),
            "Authenticate": refuse(rpc.AuthenticateRequest, AUTH_NOT_ENABLED),
            "UserAdd": refuse_unnamed(rpc.AuthUserAddRequest, USER_EMPTY),
            "UserGet": refuse(rpc.AuthUserGetRequest, USER_NOT_FOUND),
            "UserList": answer(rpc.AuthUserListRequest, rpc.AuthUserListResponse()),
            "UserDelete": refuse(rpc.AuthUserDeleteRequest, USER_NOT_FOUND),
            "UserChangePassword": refuse(rpc.AuthUserChangePasswordRequest, USER_NOT_FOUND),
            "UserGrantRole": refuse(rpc.AuthUserGrantRoleRequest, USER_NOT_FOUND),
            "UserRevokeRole": refuse(rpc.AuthUserRevokeRoleRequest, USER_NOT_FOUND),
            "RoleAdd": refuse_unnamed(rpc.AuthRoleAddRequest, ROLE_EMPTY),
            "RoleGet": refuse(rpc.AuthRoleGetRequest, ROLE_NOT_FOUND),
            "RoleList": answer(rpc.AuthRoleListRequest, rpc.AuthRoleListResponse()),
            "RoleDelete": refuse(rpc.AuthRoleDeleteRequest, ROLE_NOT_FOUND),
            "RoleGrantPermission": Unary(
                rpc.AuthRoleGrantPermissionRequest, self._role_grant_permission
            ),
            "RoleRevokePermission": refuse(rpc.AuthRoleRevokePermissionRequest, ROLE_NOT_FOUND),
        }
        return {f"/etcdserverpb.Auth/{name}": method for name, method in methods.items()}

    def _role_grant_permission(
        self, request: rpc.AuthRoleGrantPermissionRequest, call: Call
    ) -> Response:
        given = request.HasField("perm")
        return self._refused(call, ROLE_NOT_FOUND if given else PERMISSION_NOT_GIVEN)

    def _refuse(self, request: type[Message], error: Definition) -> Unary:
        return Unary(request, lambda request, call: self._refused(call, error))

    def _refuse_unnamed(self, request: type[Message], unnamed: Definition) -> Unary:
        def add(request: Any, call: Call) -> Response:
            return self._refused(call, USERS_NOT_SUPPORTED if request.name else unnamed)

        return Unary(request, add)

    def _answer(self, request: type[Message], response: Message) -> Unary:
        encoded = response.SerializeToString()

        def answered() -> bytes:
            return self._headers.field(self._machine.store.revision) + encoded

        return Unary(request, lambda request, call: self._confirmed(call, answered))

    def _refused(self, call: Call, error: Definition) -> Response:
        def refuse() -> bytes:
            raise error()

        return self._confirmed(call, refuse)

    def _confirmed(self, call: Call, finish: Callable[[], bytes]) -> Response:
        return after(self._node.read_index(), lambda _: finish())
