"""Managing users, roles and permissions beside etcd: every call, every refusal, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.auth_pair import (
    PASSWORD,
    ROOT,
    AuthExample,
    World,
    auth_call,
    auth_pair,
    permission,
    refused,
    world,
)
from tests.support.client import Client, Refused
from tests.support.pair import Pair

NAMES = st.sampled_from(["u", "v", ROOT, "nobody", ""])
ROLES = st.sampled_from(["r", "s", ROOT, "none", ""])
KEYS = st.sampled_from([b"", b"a", b"b", b"c"])
ENDS = st.sampled_from([b"", b"\0", b"a", b"b", b"d"])

calls_of_auth = st.one_of(
    st.builds(
        lambda name, without: ("UserAdd", {"name": name, "password": PASSWORD}, without),
        NAMES,
        st.booleans(),
    ),
    st.builds(lambda name: ("UserGet", {"name": name}, False), NAMES),
    st.builds(lambda name: ("UserDelete", {"name": name}, False), NAMES),
    st.builds(
        lambda name, word: ("UserChangePassword", {"name": name, "password": word}, False),
        NAMES,
        st.sampled_from([PASSWORD, "", "other"]),
    ),
    st.builds(
        lambda name, role: ("UserGrantRole", {"user": name, "role": role}, False), NAMES, ROLES
    ),
    st.builds(
        lambda name, role: ("UserRevokeRole", {"name": name, "role": role}, False), NAMES, ROLES
    ),
    st.builds(lambda role: ("RoleAdd", {"name": role}, False), ROLES),
    st.builds(lambda role: ("RoleGet", {"role": role}, False), ROLES),
    st.builds(lambda role: ("RoleDelete", {"role": role}, False), ROLES),
    st.builds(
        lambda role, access, key, end: (
            "RoleGrantPermission",
            {"name": role, "perm": permission((access, key, end))},
            False,
        ),
        ROLES,
        st.integers(0, 2),
        # (etcd keeps a second permission on the same range if another begins at the same key.)
        KEYS,
        st.sampled_from([b"d"]),
    ),
    st.builds(
        lambda role, key, end: (
            "RoleRevokePermission",
            {"role": role, "key": key, "range_end": end},
            False,
        ),
        ROLES,
        KEYS,
        ENDS,
    ),
    st.sampled_from(["UserList", "RoleList", "AuthStatus", "AuthEnable"]).map(
        lambda method: (method, {}, False)
    ),
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    yield from auth_pair()


def manage(calls: AuthExample, user: str, call: tuple[str, dict[str, Any], bool]) -> None:
    method, fields, without = call
    path, request, answer = auth_call(method, **fields)
    if without:
        request.options.no_password = True  # type: ignore[attr-defined]
    calls.both(user, "call", path, request, answer)


def compare_everything(calls: AuthExample, user: str) -> None:
    calls.auth(user, "AuthStatus")
    for name in getattr(calls.auth(user, "UserList"), "users", ()):
        calls.auth(user, "UserGet", name=name)
    for name in getattr(calls.auth(user, "RoleList"), "roles", ()):
        calls.auth(user, "RoleGet", role=name)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(calls_of_auth, max_size=25))
def test_without_authentication_anybody_manages_users_as_in_etcd(
    pair: Pair, asked: list[tuple[str, dict[str, Any], bool]]
) -> None:
    with pair.example() as example:
        calls = AuthExample(pair, example)
        calls.use("", None, None)
        try:
            for call in asked:
                # (Enabled by itself it would lock the next calls out: see the next test.)
                if call[0] != "AuthEnable":
                    manage(calls, "", call)
            compare_everything(calls, "")
        finally:
            for name in calls.auth("", "UserList").users:
                calls.auth("", "UserDelete", name=name)
            for name in calls.auth("", "RoleList").roles:
                calls.auth("", "RoleDelete", role=name)
            calls.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from([ROOT, ROOT, ROOT, "u", ""]), calls_of_auth), max_size=25)
)
def test_with_authentication_root_manages_users_and_others_see_themselves(
    pair: Pair, asked: list[tuple[str, tuple[str, dict[str, Any], bool]]]
) -> None:
    with world(pair, World({"r": [(2, b"a", b"\0")]}, {"u": ["r"]})) as calls:
        for user, call in asked:
            if call[1].get("name") == ROOT and call[0] == "UserChangePassword":
                continue  # (It ends the session that the next calls need.)
            manage(calls, user, call)
        calls.log_in(ROOT)
        compare_everything(calls, ROOT)


def log_in(client: Client, name: str, password: str) -> str | Refused:
    path, request, answer = auth_call("Authenticate", name=name, password=password)
    try:
        token: str = client.call(path, request, answer).token  # type: ignore[attr-defined]
    except Refused as refusal:
        return refusal
    return token


@pytest.mark.parametrize(
    ("name", "password"),
    [("u", "wrong"), ("u", ""), ("nobody", PASSWORD), ("", ""), ("n", PASSWORD), ("n", "")],
)
def test_a_login_that_fails_is_refused_in_etcds_words(pair: Pair, name: str, password: str) -> None:
    with world(pair, World(users={"u": []})) as calls:
        manage(calls, ROOT, ("UserAdd", {"name": "n"}, True))
        mine, theirs = (log_in(client, name, password) for client in calls.clients(""))
        assert isinstance(mine, Refused)
        assert mine == theirs


@pytest.mark.parametrize(
    "token", ["", "x", "abcdefghijklmnop.1", "abcdefghijklmnop.x", "a.b.c", "Bearer x"]
)
def test_a_token_that_is_none_is_refused_in_etcds_words(pair: Pair, token: str) -> None:
    with world(pair, World(users={"u": []})) as calls:
        calls.use("forger", token, token)
        assert calls.both("forger", "range", b"k") == refused(
            "UNAUTHENTICATED", "invalid auth token"
        )
        calls.both("forger", "put", b"k")
        calls.both("forger", "members")
        calls.both("forger", "grant", 60, 77)


@pytest.mark.parametrize("end", ["UserDelete", "UserChangePassword", "AuthDisable"])
def test_tokens_end_with_their_user_password_or_authentication(pair: Pair, end: str) -> None:
    with world(pair, World({"r": [(2, b"a", b"\0")]}, {"u": ["r"]})) as calls:
        calls.both("u", "put", b"k")
        if end == "AuthDisable":
            calls.auth(ROOT, end)
            calls.auth("", "AuthEnable")
        else:
            calls.auth(ROOT, end, name="u")
        assert calls.both("u", "put", b"k") == refused("UNAUTHENTICATED", "invalid auth token")


def test_a_token_may_come_as_authorization_too(pair: Pair) -> None:
    with world(pair, World({"r": [(2, b"a", b"\0")]}, {"u": ["r"]})) as calls:
        for client in calls.clients(""):
            token = log_in(client, "u", PASSWORD)
            for value in (token, f"Bearer {token}"):
                with Client(client.endpoint, metadata={"authorization": str(value)}) as other:
                    assert other.put(b"k").header.revision
