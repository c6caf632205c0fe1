"""The flags that say how to reach members, their ETCDCTL_* variables, and what they mean."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from typing import Any

from rusd.config.parsers import duration

from .client import BadArguments
from .gateway import Access

#: Flags with a word, and their defaults; switches.
TEXT = {
    "endpoints": "127.0.0.1:2379",
    "cacert": "",
    "cert": "",
    "key": "",
    "user": "",
    "password": "",
    "command-timeout": "5s",
    "dial-timeout": "2s",
}
TYPES = {"command-timeout": duration, "dial-timeout": duration}
SWITCHES = ("insecure-skip-tls-verify",)
HELP = {
    "endpoints": "client URLs of members, joined by commas",
    "cacert": "certificates that the members' are signed by",
    "cert": "certificate shown to the members",
    "key": "private key of --cert",
    "user": "NAME or NAME:PASSWORD; a password that is missing is asked for",
    "password": "of --user",
    "command-timeout": "wait for an answer",
    "dial-timeout": "wait for a connection",
    "insecure-skip-tls-verify": "accept any certificate (for tests only)",
}


def variable(flag: str) -> str:
    """Return the name of a flag's variable."""
    return "ETCDCTL_" + flag.upper().replace("-", "_")


def defaults(environment: Mapping[str, str]) -> Iterator[tuple[str, str | bool]]:
    """Yield each flag and its default, which a variable may give."""
    for name, default in TEXT.items():
        yield name, environment.get(variable(name), default)
    for name in SWITCHES:
        yield name, environment.get(variable(name)) == "true"


def access(arguments: Any) -> Access:
    """Return what parsed flags mean; asks for a password that is missing. Raises BadArguments."""
    user, colon, password = arguments.user.partition(":")
    if arguments.password:
        user, password = arguments.user, arguments.password
    elif user and not colon:
        password = getpass.getpass("Password: ")
    if bool(arguments.cert) != bool(arguments.key):
        raise BadArguments("--cert and --key go together")
    return Access(
        arguments.cacert or None,
        arguments.cert or None,
        arguments.key or None,
        arguments.insecure_skip_tls_verify,
        user,
        password,
        arguments.dial_timeout,
        arguments.command_timeout,
    )


def endpoints(arguments: Any) -> list[str]:
    """Return the endpoints of a parsed `--endpoints`."""
    return [each.strip() for each in arguments.endpoints.split(",") if each.strip()]
