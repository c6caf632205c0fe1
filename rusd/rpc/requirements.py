"""The requirements of each method: one row a method, read by the guards.

Every method also refuses calls with metadata `hasleader: true` while no leader is known
(`guards/leader.py`); that needs no column. Source: etcd's interceptors, quota servers, maintenance
and auth servers (`server/etcdserver/api/v3rpc`), and its apply checks (`apply/auth.go`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from rusd.proto import rpc_pb2 as rpc
from rusd.state import txn
from rusd.state.cost import LEASE_COST, put_cost, txn_cost


class OnLearner(Enum):
    """Requests of the method that a learner serves."""

    REFUSED = auto()
    #: Only requests with `serializable` set.
    SERIALIZABLE = auto()
    SERVED = auto()


class Permission(Enum):
    """Requirement for the caller while authentication is enabled."""

    #: Nothing; a token is not looked at.
    NONE = auto()
    #: A token may be absent, but not invalid.
    VALID_TOKEN = auto()
    #: An authenticated user.
    USER = auto()
    #: A user with permission for the keys of the request.
    KEYS = auto()
    #: An authenticated user with permission for the keys attached to the lease of the request.
    LEASE_KEYS = auto()
    #: The role root.
    ROOT = auto()
    #: Root, or the user that the request names, or a user with the role that it names; the service
    #: checks behind its read index, the guard only the token.
    ROOT_OR_SELF = auto()
    #: USER to list, ROOT to change.
    ROOT_TO_CHANGE = auto()


@dataclass(frozen=True, slots=True)
class Requirements:
    """One row of the table."""

    permission: Permission
    on_learner: OnLearner = OnLearner.REFUSED
    #: Bytes that a request may add to the backend, for the space quota; None: it adds none.
    cost: Callable[[Any], int] | None = None
    #: Only the leader serves the method.
    leader_only: bool = False
    #: Requests that etcd admits or refuses behind a read index, or when they are applied. A refusal
    #: by this member's own users and roles, which may be stale, is decided once more behind a read
    #: index. None: etcd refuses by what the member has applied.
    confirmed: Callable[[Any], bool] | None = None


def _lease_cost(request: object) -> int:
    return LEASE_COST


def _always(request: object) -> bool:
    return True


def _linearizable_range(request: Any) -> bool:
    return not request.serializable


def _linearizable_txn(request: rpc.TxnRequest) -> bool:
    return txn.is_read_only(request) and not txn.is_serializable(request)


def _linearizable_list(request: rpc.MemberListRequest) -> bool:
    return request.linearizable


_NONE = Requirements(Permission.NONE)
_VALID_TOKEN = Requirements(Permission.VALID_TOKEN)
_USER = Requirements(Permission.USER)
_KEYS = Requirements(Permission.KEYS)
_LEASE_KEYS = Requirements(Permission.LEASE_KEYS)
_ROOT = Requirements(Permission.ROOT)
_CHANGE_OF_USERS = Requirements(Permission.ROOT, confirmed=_always)
_QUESTION_OF_USERS = Requirements(Permission.ROOT_OR_SELF)

#: Full gRPC path -> requirements.
REQUIREMENTS: Mapping[str, Requirements] = {
    "/etcdserverpb.KV/Range": Requirements(
        Permission.KEYS, OnLearner.SERIALIZABLE, confirmed=_linearizable_range
    ),
    "/etcdserverpb.KV/RangeStream": Requirements(Permission.KEYS, confirmed=_linearizable_range),
    "/etcdserverpb.KV/Put": Requirements(Permission.KEYS, cost=put_cost),
    "/etcdserverpb.KV/DeleteRange": _KEYS,
    "/etcdserverpb.KV/Txn": Requirements(
        Permission.KEYS, cost=txn_cost, confirmed=_linearizable_txn
    ),
    "/etcdserverpb.KV/Compact": _ROOT,
    "/etcdserverpb.Watch/Watch": _KEYS,
    "/etcdserverpb.Lease/LeaseGrant": Requirements(Permission.USER, cost=_lease_cost),
    "/etcdserverpb.Lease/LeaseRevoke": _LEASE_KEYS,
    "/etcdserverpb.Lease/LeaseKeepAlive": _LEASE_KEYS,
    "/etcdserverpb.Lease/LeaseTimeToLive": _LEASE_KEYS,
    "/etcdserverpb.Lease/LeaseLeases": _LEASE_KEYS,
    "/etcdserverpb.Cluster/MemberAdd": _ROOT,
    "/etcdserverpb.Cluster/MemberRemove": _ROOT,
    "/etcdserverpb.Cluster/MemberUpdate": _ROOT,
    "/etcdserverpb.Cluster/MemberList": Requirements(Permission.USER, confirmed=_linearizable_list),
    "/etcdserverpb.Cluster/MemberPromote": _ROOT,
    "/etcdserverpb.Maintenance/Alarm": Requirements(Permission.ROOT_TO_CHANGE),
    "/etcdserverpb.Maintenance/Status": Requirements(Permission.USER, OnLearner.SERVED),
    "/etcdserverpb.Maintenance/Defragment": _ROOT,
    "/etcdserverpb.Maintenance/Hash": _ROOT,
    "/etcdserverpb.Maintenance/HashKV": _ROOT,
    "/etcdserverpb.Maintenance/Snapshot": Requirements(Permission.ROOT, OnLearner.SERVED),
    "/etcdserverpb.Maintenance/MoveLeader": Requirements(Permission.ROOT, leader_only=True),
    "/etcdserverpb.Maintenance/Downgrade": _ROOT,
    "/etcdserverpb.Auth/AuthEnable": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/AuthDisable": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/AuthStatus": _VALID_TOKEN,
    "/etcdserverpb.Auth/Authenticate": _NONE,
    "/etcdserverpb.Auth/UserAdd": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/UserGet": _QUESTION_OF_USERS,
    "/etcdserverpb.Auth/UserList": _QUESTION_OF_USERS,
    "/etcdserverpb.Auth/UserDelete": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/UserChangePassword": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/UserGrantRole": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/UserRevokeRole": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/RoleAdd": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/RoleGet": _QUESTION_OF_USERS,
    "/etcdserverpb.Auth/RoleList": _QUESTION_OF_USERS,
    "/etcdserverpb.Auth/RoleDelete": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/RoleGrantPermission": _CHANGE_OF_USERS,
    "/etcdserverpb.Auth/RoleRevokePermission": _CHANGE_OF_USERS,
    # Each is made of calls of KV, Lease and Watch, which check the quota and the caller.
    "/v3lockpb.Lock/Lock": _NONE,
    "/v3lockpb.Lock/Unlock": _NONE,
    "/v3electionpb.Election/Campaign": _NONE,
    "/v3electionpb.Election/Proclaim": _NONE,
    "/v3electionpb.Election/Leader": _NONE,
    "/v3electionpb.Election/Observe": _NONE,
    "/v3electionpb.Election/Resign": _NONE,
    "/grpc.health.v1.Health/Check": _NONE,
    "/grpc.health.v1.Health/List": _NONE,
    "/grpc.health.v1.Health/Watch": _NONE,
}
