"""Enables authentication: one user with the role root."""

from __future__ import annotations

from typing import NamedTuple

from .. import wire

_AUTH = "/etcdserverpb.Auth/"

ROOT = b"root"


class Login(NamedTuple):
    """Name and password of a user."""

    user: str
    password: str


def enable(endpoint: str, login: Login, access: wire.Access, timeout: float = 5.0) -> None:
    """Add the user `login`, which must be etcd's root, and enable authentication.

    Raises NoAnswer if the store has that user, or authentication, already.
    """
    name = login.user.encode()
    with wire.connected(endpoint, timeout, access._replace(token="")) as ask:
        ask(_AUTH + "UserAdd", wire.field(1, name) + wire.field(2, login.password.encode()))
        ask(_AUTH + "UserGrantRole", wire.field(1, name) + wire.field(2, ROOT))
        ask(_AUTH + "AuthEnable", b"")
