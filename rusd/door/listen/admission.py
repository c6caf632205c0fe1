"""Admission of new connections: by free file descriptors and by the client's certificate.

    accepted ─ (TLS) ─ AdmittingProtocol ─┬─ the protocol of the connection
                                          └─ aborted

The store, the log and the peers need file descriptors too: the last `RESERVED` are kept for them.
The kernel gives a new connection the lowest free number, so the number itself tells how many are in
use, without counting.
"""

import asyncio
import errno
import resource
import ssl
from typing import cast

from rusd.base.accept import log_rejection
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.sockets import Factory, shown
from rusd.door.tls.context import ClientTls

log = get_logger(__name__)

#: File descriptors that clients leave free, as in etcd.
RESERVED = 150


def first_reserved() -> float:
    """Return the lowest descriptor number that clients do not get.

    Raises OSError if the descriptor limit of the process leaves none for clients.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return float("inf")
    if soft <= RESERVED:
        raise OSError(
            errno.EMFILE, f"file descriptor limit is too low: {soft}, set it above {RESERVED}"
        )
    return soft - RESERVED


class AdmissionControl:
    """Makes the protocols of one listener, each behind an `AdmittingProtocol`."""

    def __init__(self, factory: Factory, tls: ClientTls | None) -> None:
        """Raises OSError if the descriptor limit of the process leaves none for clients."""
        self._full = first_reserved()
        self._tls = tls if tls is not None and tls.denies_some else None
        self._refusals = LimitedLog(log)
        self.factory = factory

    def __call__(self) -> "AdmittingProtocol":
        return AdmittingProtocol(self)

    def refuses(self, transport: asyncio.Transport) -> bool:
        """Return whether a new connection must be closed; logs the reason."""
        try:
            if self.is_full(transport.get_extra_info("socket").fileno()):
                return True
            if self._tls is not None:
                connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
                self._tls.admit(connection)
        except Exception as denied:  # noqa: BLE001
            # Unexpected errors too: certificates are written by clients.
            self.reject(transport.get_extra_info("peername"), denied)
            return True
        return False

    def reject(self, peername: object, error: Exception) -> None:
        """Log why a connection is closed, with the remote address that the socket gives."""
        log_rejection(self._refusals, "client", shown(peername), error)

    def is_full(self, descriptor: int) -> bool:
        """Return whether this descriptor is one of the reserved; logs it."""
        if descriptor < self._full:
            return False
        self._refusals.warning("too many open files: connections refused", {})
        return True


class AdmittingProtocol(asyncio.Protocol):
    """A connection until it is admitted."""

    def __init__(self, gate: AdmissionControl) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        if self._gate.refuses(transport):
            transport.abort()
            return
        protocol = self._gate.factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
