"""Every method of the server beside etcd: without a token, with a forged one, as a plain user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from tests.support.auth_pair import AuthExample, World, auth_pair, world
from tests.support.client import Refused
from tests.support.every_method import METHODS, first, requests
from tests.support.pair import Pair

#: A user with a role, and forged tokens. (With a log index to come, etcd waits for the deadline.)
USER, FORGED = "u", ["x.1", "", "eyJhbGciOiJub25lIn0.e30."]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    yield from auth_pair()


def compared(calls: AuthExample, caller: str, path: str, request: Message) -> object:
    mine, theirs = (first(client, path, request) for client in calls.clients(caller))
    assert mine == theirs, f"{caller or 'nobody'}: {path}\n rusd: {mine!r}\n etcd: {theirs!r}"
    return mine


def test_every_method_requires_the_permission_that_etcd_requires(pair: Pair) -> None:
    plain = World(roles={"r": [(2, b"a", b"m")]}, users={USER: ["r"]})
    with world(pair, plain) as calls:
        for token in FORGED:
            calls.use(f"forged {token}", token, token)
        outcomes = {
            (path, caller): compared(calls, caller, path, request)
            for path, method in METHODS.items()
            for request in requests(method)
            for caller in ("", USER, *(f"forged {token}" for token in FORGED))
        }
    # (So that a comparison of two open doors is not taken for a proof.)
    for path in METHODS:
        if path not in ("/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Auth/AuthStatus"):
            assert not _served(outcomes[path, ""]), path
        if path != "/etcdserverpb.Auth/Authenticate":
            assert not _served(outcomes[path, "forged x.1"]), path


def _served(outcome: object) -> bool:
    return isinstance(outcome, str) and outcome.endswith("Response")


def test_a_refused_caller_learns_nothing_about_existing_keys(pair: Pair) -> None:
    """Names of users, roles, leases and keys get the same refusal whether they exist or not."""
    plain = World(roles={"r": [(2, b"a", b"m")]}, users={USER: ["r"]})
    with world(pair, plain) as calls:
        for path, name in (("UserGet", "name"), ("RoleGet", "role"), ("UserDelete", "name")):
            for caller in ("", USER):
                seen = {
                    repr(calls.auth(caller, path, **{name: value})) for value in ("root", "nobody")
                }
                assert len(seen) == 1 and "Refused" in seen.pop()
        denied = calls.both(USER, "range", b"z")
        assert isinstance(denied, Refused) and denied == calls.both(USER, "range", b"zz")
