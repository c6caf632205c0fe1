"""The gate of a listener: is there room for one more connection, and may this client come in?

    accepted ─ (TLS) ─ Admission ──┬── the protocol of the connection
                                   └── aborted

The store, the journal and the peers need file descriptors too. The kernel gives every new
connection the lowest number that is free, so the number itself tells how many are in use: no
counting is needed, and the last ones stay for those.
"""

import asyncio
import errno
import resource
import ssl
from typing import cast

from rusd.base.logs import Sparse, get_logger
from rusd.base.sockets import Factory, shown
from rusd.door.tls.context import ClientTls

log = get_logger(__name__)

#: File descriptors that no client may have, as in etcd.
RESERVED = 150


class AdmissionControl:
    """Makes the protocols of one listener, each behind an `Admission`."""

    def __init__(self, factory: Factory, tls: ClientTls | None) -> None:
        """OSError if this process may not open enough files to let anybody in."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft <= RESERVED:
            raise OSError(
                errno.EMFILE, f"file descriptor limit is too low: {soft}, set it above {RESERVED}"
            )
        self._full = float("inf") if soft == resource.RLIM_INFINITY else soft - RESERVED
        self._tls = tls if tls is not None and tls.denies_some else None
        self._refusals = Sparse(log)
        self.factory = factory

    def __call__(self) -> "Admission":
        return Admission(self)

    def refuses(self, transport: asyncio.Transport) -> bool:
        """Whether a connection just made must go; says so in the log."""
        try:
            if self.is_full(transport.get_extra_info("socket").fileno()):
                return True
            if self._tls is not None:
                connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
                self._tls.admit(connection)
        except Exception as denied:  # noqa: BLE001
            # Also what nobody has thought of: certificates are written by clients.
            peer = shown(transport.get_extra_info("peername"))
            fields = {"remote-addr": peer, "error": str(denied)}
            self._refusals.warning("rejected connection", fields)
            return True
        return False

    def is_full(self, descriptor: int) -> bool:
        """Whether a connection with this descriptor must go; says so in the log."""
        if descriptor < self._full:
            return False
        self._refusals.warning("too many open files: connections refused", {})
        return True


class Admission(asyncio.Protocol):
    """A connection until it is let in."""

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
