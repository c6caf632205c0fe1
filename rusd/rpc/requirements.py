"""The requirements of each method: one row a method, read by the guards.

Every method also refuses calls with metadata `hasleader: true` while no leader is known
(`guards/leader.py`); that needs no column. Source: etcd's interceptors, quota servers, maintenance
and auth servers (`server/etcdserver/api/v3rpc`), and its apply checks (`apply/auth.go`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from rusd.state.cost import LEASE_COST, put_cost, txn_cost


class OnLearner(Enum):
    """Whether a learner serves the method."""

    REFUSED = auto()
    #: Only requests with `serializable` set.
    SERIALIZABLE = auto()
    SERVED = auto()


class Permission(Enum):
    """What authentication, once enabled, requires of the caller."""

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
    #: Root, or the user that the request names, or a user with the role that it names.
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


def _lease_cost(request: object) -> int:
    return LEASE_COST


_NONE = Requirements(Permission.NONE)
_VALID_TOKEN = Requirements(Permission.VALID_TOKEN)
_USER = Requirements(Permission.USER)
_KEYS = Requirements(Permission.KEYS)
_LEASE_KEYS = Requirements(Permission.LEASE_KEYS)
_ROOT = Requirements(Permission.ROOT)

#: Full gRPC path -> requirements.
REQUIREMENTS: Mapping[str, Requirements] = {
    "/etcdserverpb.KV/Range": Requirements(Permission.KEYS, OnLearner.SERIALIZABLE),
    "/etcdserverpb.KV/RangeStream": _KEYS,
    "/etcdserverpb.KV/Put": Requirements(Permission.KEYS, cost=put_cost),
    "/etcdserverpb.KV/DeleteRange": _KEYS,
    "/etcdserverpb.KV/Txn": Requirements(Permission.KEYS, cost=txn_cost),
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
    "/etcdserverpb.Cluster/MemberList": _USER,
    "/etcdserverpb.Cluster/MemberPromote": _ROOT,
    "/etcdserverpb.Maintenance/Alarm": Requirements(Permission.ROOT_TO_CHANGE),
    "/etcdserverpb.Maintenance/Status": Requirements(Permission.USER, OnLearner.SERVED),
    "/etcdserverpb.Maintenance/Defragment": _ROOT,
    "/etcdserverpb.Maintenance/Hash": _ROOT,
    "/etcdserverpb.Maintenance/HashKV": _ROOT,
    "/etcdserverpb.Maintenance/Snapshot": Requirements(Permission.ROOT, OnLearner.SERVED),
    "/etcdserverpb.Maintenance/MoveLeader": Requirements(Permission.ROOT, leader_only=True),
    "/etcdserverpb.Maintenance/Downgrade": _ROOT,
    "/etcdserverpb.Auth/AuthEnable": _ROOT,
    "/etcdserverpb.Auth/AuthDisable": _ROOT,
    "/etcdserverpb.Auth/AuthStatus": _VALID_TOKEN,
    "/etcdserverpb.Auth/Authenticate": _NONE,
    "/etcdserverpb.Auth/UserAdd": _ROOT,
    "/etcdserverpb.Auth/UserGet": Requirements(Permission.ROOT_OR_SELF),
    "/etcdserverpb.Auth/UserList": _ROOT,
    "/etcdserverpb.Auth/UserDelete": _ROOT,
    "/etcdserverpb.Auth/UserChangePassword": _ROOT,
    "/etcdserverpb.Auth/UserGrantRole": _ROOT,
    "/etcdserverpb.Auth/UserRevokeRole": _ROOT,
    "/etcdserverpb.Auth/RoleAdd": _ROOT,
    "/etcdserverpb.Auth/RoleGet": Requirements(Permission.ROOT_OR_SELF),
    "/etcdserverpb.Auth/RoleList": _ROOT,
    "/etcdserverpb.Auth/RoleDelete": _ROOT,
    "/etcdserverpb.Auth/RoleGrantPermission": _ROOT,
    "/etcdserverpb.Auth/RoleRevokePermission": _ROOT,
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
