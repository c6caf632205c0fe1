"""etcdserverpb.Auth: what is refused before a request is proposed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rusd.api.auth import AuthService
from rusd.auth.errors import InvalidAuthManagement
from rusd.auth.records import MAX_NAME
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.methods import Unary


def method(name: str) -> Unary[Any]:
    unused: Any = SimpleNamespace(auth=None)
    found = AuthService(unused, unused, unused, unused, unused, lambda: 0.0).methods()
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
