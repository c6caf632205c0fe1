"""Listens on an https peer URL: accepted connections until their TLS handshake is complete.

    accepted ─▶ PendingHandshake (counted as unconfirmed) ─▶ Connection
                                                          └▶ closed, with a line in the log

A handshake that stalls ends after HELLO_TIMEOUT, or makes room earlier for a newer connection; no
other one waits for it. In one turn of the loop a few handshakes begin, the others later.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from rusd.base.accept import AcceptLoop, begin
from rusd.base.sockets import Bound, peername, shown
from rusd.base.supervised import Tasks
from rusd.raft.transport.connection import HELLO_TIMEOUT, Connection

#: Handshakes begun in one turn of the loop at one address.
HANDSHAKES = 8


class Owner(Protocol):
    """The part of `Peers` that a listener uses."""

    def handshake_begun(self, handshake: "PendingHandshake") -> bool:
        """A handshake begins; False if there is no room for it."""

    def handshake_ended(self, handshake: "PendingHandshake", error: Exception | None) -> None:
        """A handshake ended; with `error` if there is no connection."""


class PendingHandshake:
    """An accepted connection whose handshake is not complete."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self.descriptor = accepted.fileno()
        name = peername(accepted)
        self.remote = str(name[0]) if isinstance(name, tuple) else ""
        self.address = shown(name)

    def drop(self, why: str) -> None:
        """End the connection; the handshake fails then."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class TlsListener:
    """Accepts on the sockets of one URL."""

    def __init__(
        self,
        owner: Owner,
        bound: Bound,
        context: ssl.SSLContext,
        make: Callable[[], Connection],
        tasks: Tasks,
    ) -> None:
        self._owner = owner
        self._context = context
        self._make = make
        self._tasks = tasks
        self._pending: set[PendingHandshake] = set()
        self._accepts = AcceptLoop(bound, self._accepted, HANDSHAKES)

    def close(self) -> None:
        """Stop accepting; handshakes end, connections continue."""
        self._accepts.close()
        for handshake in list(self._pending):
            handshake.drop("the member stops")

    def _accepted(self, accepted: socket.socket) -> None:
        handshake = PendingHandshake(accepted)
        if self._owner.handshake_begun(handshake):
            self._pending.add(handshake)
            self._tasks.start(
                "TLS handshake of a peer", self._complete_handshake(accepted, handshake)
            )
        else:
            accepted.close()

    async def _complete_handshake(
        self, accepted: socket.socket, handshake: PendingHandshake
    ) -> None:
        error: Exception | None = None
        try:
            error = await begin(accepted, self._make, self._context, HELLO_TIMEOUT)
        finally:
            self._pending.discard(handshake)
            self._owner.handshake_ended(handshake, error)
