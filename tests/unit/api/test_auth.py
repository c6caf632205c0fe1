"""etcdserverpb.Auth: what is refused before a request is proposed, or answered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rusd.api.auth import AuthService
from rusd.auth.errors import InvalidAuthManagement, PermissionDenied, UserNameEmpty
from rusd.auth.records import ANONYMOUS, MAX_NAME, Identity, User
from rusd.auth.store import AuthStore
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EtcdError
from rusd.rpc.methods import Unary
from tests.unit.auth.recording import Recorded


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


# Questions


class Asked:
    """Users root, u (role r) and v, and calls that wait for a read index; authentication on."""

    def __init__(self) -> None:
        self.auth, self.records = AuthStore(), Recorded()
        self.auth.add_role(self.records, "r")
        self.auth.add_role(self.records, "s")
        for user in (User("root", b"", ("root",)), User("u", b"", ("r",)), User("v")):
            self.auth.add_user(self.records, user)
        self.auth.enable(self.records)
        self.read: Pending[None] = Pending()
        node: Any = SimpleNamespace(read_index=lambda: self.read)
        machine: Any = SimpleNamespace(auth=self.auth, store=SimpleNamespace(revision=1))
        headers: Any = SimpleNamespace(field=lambda revision: b"")
        unused: Any = None
        self.methods = AuthService(node, machine, headers, unused, unused, lambda: 0.0).methods()

    def ask(self, name: str, request: Any, user: str) -> Any:
        method = self.methods[f"/etcdserverpb.Auth/{name}"]
        assert isinstance(method, Unary)
        identity = Identity(user, self.auth.revision) if user else ANONYMOUS
        return method.call(request, Call({}, b"", None, Caller("a"), identity=identity))


OWN, OTHER = rpc.AuthUserGetRequest(name="u"), rpc.AuthUserGetRequest(name="v")
ROLE, FOREIGN = rpc.AuthRoleGetRequest(role="r"), rpc.AuthRoleGetRequest(role="s")
USERS, ROLES = rpc.AuthUserListRequest(), rpc.AuthRoleListRequest()


@pytest.mark.parametrize(
    ("name", "request_", "user", "error"),
    [
        ("UserGet", OWN, "u", None),
        ("UserGet", OTHER, "u", PermissionDenied),
        ("UserGet", OTHER, "root", None),
        ("UserGet", OTHER, "", UserNameEmpty),
        ("RoleGet", ROLE, "u", None),
        ("RoleGet", FOREIGN, "u", PermissionDenied),
        ("RoleGet", FOREIGN, "root", None),
        ("UserList", USERS, "u", PermissionDenied),
        ("UserList", USERS, "root", None),
        ("RoleList", ROLES, "", UserNameEmpty),
        ("RoleList", ROLES, "root", None),
        ("AuthStatus", rpc.AuthStatusRequest(), "", None),
    ],
)
def test_users_and_roles_are_shown_to_root_and_to_those_they_are_of(
    name: str, request_: Any, user: str, error: type[Exception] | None
) -> None:
    asked = Asked()
    asked.read.set_result(None)
    answer = asked.ask(name, request_, user)
    found = answer.exception()
    assert found is None if error is None else type(found) is error


def test_a_role_taken_away_elsewhere_shows_nothing_on_a_member_that_is_behind() -> None:
    asked = Asked()
    asked.auth.grant_role(asked.records, "v", "root")
    answer = asked.ask("UserList", USERS, "v")
    asked.auth.revoke_role(asked.records, "v", "root")
    asked.read.set_result(None)
    assert isinstance(answer.exception(), PermissionDenied)


def test_authentication_enabled_elsewhere_shows_nobody_the_users_on_a_member_that_is_behind() -> (
    None
):
    asked = Asked()
    asked.auth.disable(asked.records)
    answer = asked.ask("UserList", USERS, "")
    asked.auth.enable(asked.records)
    asked.read.set_result(None)
    assert isinstance(answer.exception(), UserNameEmpty)


def test_authentication_disabled_elsewhere_shows_the_users_on_a_member_that_is_behind() -> None:
    asked = Asked()
    answer = asked.ask("UserList", USERS, "")
    asked.auth.disable(asked.records)
    asked.read.set_result(None)
    assert rpc.AuthUserListResponse.FromString(answer.result()).users == ["root", "u", "v"]
