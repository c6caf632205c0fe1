"""What the verbs share: who is asked, and the arguments that cannot be used."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from .answers import as_etcdctl
from .gateway import Gateway, Json

#: Words and flags of a verb, by name.
Arguments: TypeAlias = Any

BAD_FORM = 4
BAD_ARGUMENTS = 128


class BadArguments(Exception):
    """Arguments that do not go together, or of which one is not known (BAD_FORM)."""

    def __init__(self, message: str, code: int = BAD_ARGUMENTS) -> None:
        super().__init__(message)
        self.code = code


class Client(NamedTuple):
    """Endpoints, and a function that connects to some of them."""

    endpoints: list[str]
    connect: Callable[[list[str]], Gateway]

    def call(self, path: str, request: Json, *endpoints: str) -> Json:
        """Return the response of `endpoints` (default: all, in turn). Raises CallError."""
        found: Json = as_etcdctl(self.connect([*endpoints] or self.endpoints).call(path, request))
        return found


def asked(arguments: Arguments, client: Client) -> list[str]:
    """Return the endpoints that are named, or with --cluster those that the members advertise."""
    if not arguments.cluster:
        return client.endpoints
    found = client.call("cluster/member/list", {"linearizable": True}).get("members", ())
    return [url for member in found for url in member.get("clientURLs", ())]


def only(arguments: Arguments, otherwise: str) -> str:
    """Return the only word of a verb. Raises BadArguments, with `otherwise`."""
    if len(arguments.words) != 1:
        raise BadArguments(otherwise)
    word: str = arguments.words[0]
    return word


def base64(data: bytes) -> str:
    """Return bytes as JSON has them."""
    return b64encode(data).decode()
