"""Dialling peer URLs, with TLS by `PeerTls` (`raft/ports.py`).

The scheme of a URL decides: https is dialled with TLS, http without. What is dialled is checked
before the first byte is sent, what is accepted before its first frame is looked at
(`connection.py`).
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from rusd.base import sockets
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.urls import Url
from rusd.raft.ports import PeerTls
from rusd.raft.transport.frames import HelloRefused, pack

P = TypeVar("P", bound=asyncio.BaseProtocol)

#: How a member names a certificate that it refuses, to the other side (as in Go).
BAD_CERTIFICATE = "tls: bad certificate"

_failures = LimitedLog(get_logger(__name__))


async def connect(factory: Callable[[], P], url: str, tls: PeerTls) -> P:
    """Connect to a peer URL; the protocol checks the peer (`check_server`).

    Raises one of sockets.UNREACHABLE.
    """
    return await sockets.connect(factory, url, _context(url, tls), tls.local_address)


async def open_streams(url: str, tls: PeerTls) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a peer URL, check the peer, and return the two streams.

    Raises one of sockets.UNREACHABLE.
    """
    reader, writer = await sockets.open_streams(url, _context(url, tls), tls.local_address)
    connection: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if connection is not None:
        try:
            tls.check_server(connection)
        except Exception as error:
            # Certificates are written by others: any exception refuses.
            writer.write(pack(HelloRefused(BAD_CERTIFICATE)))
            writer.close()
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, str(error)) from error
    return reader, writer


def report(url: str, reason: str) -> None:
    """Log why a peer was not reached over TLS: the first error of a kind, then a count."""
    _failures.warning("cannot connect to a peer over TLS", {"url": url, "error": reason}, url)


def _context(url: str, tls: PeerTls) -> ssl.SSLContext | None:
    return tls.client() if Url(url).is_secure else None
