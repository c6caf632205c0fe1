"""The client of a connection, from its transport: address and names of its certificate."""

import asyncio
import ssl
from typing import Any

from rusd.base.sockets import shown
from rusd.rpc.call import Caller, Certificate


def caller_of(transport: asyncio.BaseTransport) -> Caller:
    """Return the caller of an accepted connection, after its handshake."""
    address = shown(transport.get_extra_info("peername"))
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if connection is None:
        return Caller(address)
    return Caller(address, _certificate(connection), secure=True)


def _certificate(connection: ssl.SSLObject) -> Certificate | None:
    """The verified certificate; None if there is none, or one whose names cannot be read."""
    try:
        fields: dict[str, Any] | None = connection.getpeercert()
    except ValueError:
        return None
    if not fields:
        return None
    names = [value for group in fields.get("subject", ()) for kind, value in group
             if kind == "commonName"]  # fmt: skip
    alternatives = tuple(str(value) for _, value in fields.get("subjectAltName", ()))
    # The last common name counts, as in Go.
    return Certificate(names[-1] if names else "", alternatives)
