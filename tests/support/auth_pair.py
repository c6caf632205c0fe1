"""rusd and etcd side by side with the same users, roles and permissions.

`AuthPair` gives each generated world of users to both, logs every user in on both, and makes the
same call of the same user to both. Tokens differ; everything else must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.pair import Example, Pair, outcome, require_newer_oracle

#: (access, key, range end)
Grant = tuple[int, bytes, bytes]
PASSWORD = "secret"
ROOT = "root"


@dataclass
class World:
    """Users beside root."""

    #: Role -> its permissions.
    roles: Mapping[str, Sequence[Grant]] = field(default_factory=dict)
    #: User -> its roles.
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)


def auth_call(method: str, /, **fields: Any) -> tuple[str, Message, type[Message]]:
    """Path, request and answer type of a call of the Auth service."""
    called = rpc.DESCRIPTOR.services_by_name["Auth"].methods_by_name[method]
    request = message_factory.GetMessageClass(called.input_type)(**fields)
    answer: type[Message] = message_factory.GetMessageClass(called.output_type)
    return f"/etcdserverpb.Auth/{method}", request, answer


def permission(grant: Grant) -> auth_pb2.Permission:
    access, key, range_end = grant
    message = auth_pb2.Permission(key=key, range_end=range_end)
    message.permType = access  # type: ignore[assignment]
    return message


class AuthExample:
    """Calls of users, made to both servers."""

    def __init__(self, pair: Pair, example: Example) -> None:
        self.pair = pair
        self.example = example
        self._clients: dict[str, tuple[Client, Client]] = {}

    def both(self, user: str, method: str, /, *arguments: Any, **options: Any) -> Any:
        """Call `method` of both clients as `user` ("" for none) and compare."""
        mine, theirs = self._clients[user]
        one = outcome(mine, method, arguments, options)
        other = outcome(theirs, method, arguments, options)
        shown = f"{user or 'nobody'}: {method}{arguments} {options}"
        assert one == other, f"{shown}\n rusd: {one!r}\n etcd: {other!r}"
        return one

    def clients(self, user: str) -> tuple[Client, Client]:
        """The connections of `user`: to rusd, to etcd."""
        return self._clients[user]

    def auth(self, user: str, method: str, /, **fields: Any) -> Any:
        """A call of the Auth service as `user`."""
        return self.both(user, "call", *auth_call(method, **fields))

    def log_in(self, user: str) -> None:
        """Give `user` a token on both; calls of it use them from now on."""
        tokens = []
        for client in (self.pair.rusd, self.pair.etcd):
            path, request, answer = auth_call("Authenticate", name=user, password=PASSWORD)
            tokens.append(client.call(path, request, answer).token)  # type: ignore[attr-defined]
        self.use(user, *tokens)

    def use(self, user: str, mine: str | None, theirs: str | None) -> None:
        """Calls of `user` carry these tokens; None for none."""
        self.forget(user)
        self._clients[user] = (
            _client(self.pair.rusd.endpoint, mine),
            _client(self.pair.etcd.endpoint, theirs),
        )

    def forget(self, user: str) -> None:
        for client in self._clients.pop(user, ()):
            client.close()

    def close(self) -> None:
        for user in list(self._clients):
            self.forget(user)


def _client(endpoint: str, token: str | None) -> Client:
    return Client(endpoint, metadata={} if token is None else {"token": token})


def auth_pair() -> Iterator[Pair]:
    """A pair with quick password hashes."""
    require_newer_oracle()
    both = Pair("--bcrypt-cost=4")
    try:
        yield both
    finally:
        both.stop()


@contextmanager
def world(pair: Pair, inhabitants: World) -> Iterator[AuthExample]:
    """Users and roles on both, authentication enabled, everybody logged in; all gone afterwards."""
    with pair.example() as example:
        calls = AuthExample(pair, example)
        try:
            calls.use("", None, None)
            _populate(calls, inhabitants)
            calls.auth("", "AuthEnable")
            for user in (ROOT, *inhabitants.users):
                calls.log_in(user)
            yield calls
            calls.log_in(ROOT)
            calls.auth(ROOT, "AuthDisable")
            _depopulate(calls)
        finally:
            calls.close()


def _populate(calls: AuthExample, inhabitants: World) -> None:
    calls.auth("", "UserAdd", name=ROOT, password=PASSWORD)
    calls.auth("", "UserGrantRole", user=ROOT, role=ROOT)
    for role, grants in inhabitants.roles.items():
        calls.auth("", "RoleAdd", name=role)
        for grant in grants:
            calls.auth("", "RoleGrantPermission", name=role, perm=permission(grant))
    for user, roles in inhabitants.users.items():
        calls.auth("", "UserAdd", name=user, password=PASSWORD)
        for role in roles:
            calls.auth("", "UserGrantRole", user=user, role=role)


def _depopulate(calls: AuthExample) -> None:
    for user in calls.auth("", "UserList").users:
        calls.auth("", "UserDelete", name=user)
    for role in calls.auth("", "RoleList").roles:
        calls.auth("", "RoleDelete", role=role)


def refused(code: str, text: str) -> Refused:
    return Refused(code, f"etcdserver: {text}")
