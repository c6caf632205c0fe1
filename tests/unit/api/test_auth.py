"""etcdserverpb.Auth: what is refused before a request is proposed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rusd.api.auth import AuthService
from rusd.auth.errors import InvalidAuthManagement
from rusd.auth.records import MAX_NAME
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EtcdError
from rusd.rpc.methods import Unary


def method(name: str, node: object = None) -> Unary:
    unused: Any = SimpleNamespace(auth=None)
    given: Any = node
    found = AuthService(given, unused, unused, unused, unused, lambda: 0.0).methods()
    chosen = found[f"/etcdserverpb.Auth/{name}"]
    assert isinstance(chosen, Unary)
    return chosen


@pytest.mark.parametrize(
    ("name", "request_type"),
    [("UserAdd", rpc.AuthUserAddRequest), ("RoleAdd", rpc.AuthRoleAddRequest)],
)
def test_a_name_that_ends_etcd_is_refused(name: str, request_type: type[Any]) -> None:
    validate = method(name).validate
    for longest in ("n" * MAX_NAME, "\u20ac" * (MAX_NAME // 3)):
        validate(request_type(name=longest))
        with pytest.raises(InvalidAuthManagement):
            validate(request_type(name=longest + "\u20ac"))


@pytest.mark.parametrize("name", ["AuthEnable", "AuthDisable", "RoleAdd", "UserGrantRole"])
def test_users_and_roles_change_once_every_members_release_knows_them(name: str) -> None:
    """A member that does not would skip the change, and hold other users from then on."""
    proposed: list[bytes] = []
    node = SimpleNamespace(can_apply=lambda features: False, propose=proposed.append)
    chosen = method(name, node)
    with pytest.raises(EtcdError, match="a release without users and roles"):
        chosen.call(chosen.request(), Call({}, b"", None, Caller("a")))
    assert not proposed
