"""Listens on an https peer URL: accepted connections until their TLS handshake is complete.

    accepted ─▶ PendingHandshake (counted as unconfirmed) ─▶ Connection
                                                          └▶ closed, with a line in the log

A handshake that stalls ends after HELLO_TIMEOUT, or makes room earlier for a newer connection; no
other one waits for it. In one turn of the loop a few handshakes begin, the others later.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from rusd.base.logs import get_logger
from rusd.base.sockets import Bound, shown
from rusd.base.supervised import Tasks
from rusd.raft.transport.connection import HELLO_TIMEOUT, Connection

log = get_logger(__name__)

#: Handshakes begun in one turn of the loop at one address.
HANDSHAKES = 8
#: Seconds of pause after a failed accept (no file descriptors, for example).
PAUSE = 1.0


class Owner(Protocol):
    """What a listener needs of `Peers`."""

    def handshaking(self, handshake: "PendingHandshake") -> bool:
        """A handshake begins; False if there is no room for it."""

    def handshaken(self, handshake: "PendingHandshake", error: Exception | None) -> None:
        """A handshake ended; with `error` if there is no connection."""


class PendingHandshake:
    """An accepted connection whose handshake is not complete."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self.descriptor = accepted.fileno()
        try:
            name = accepted.getpeername()
        except OSError:
            name = None  # it has gone
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
        self._bound = bound
        self._context = context
        self._make = make
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._pending: set[PendingHandshake] = set()
        for each in bound.sockets:
            each.setblocking(False)
            self._loop.add_reader(each.fileno(), self._accept, each)

    def close(self) -> None:
        """Stop accepting; handshakes end, connections continue."""
        for timer in self._paused.values():
            timer.cancel()
        for each in self._bound.sockets:
            self._loop.remove_reader(each.fileno())
        self._bound.close()
        for handshake in list(self._pending):
            handshake.drop("the member stops")

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(HANDSHAKES):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                fields = {"error": str(error)}
                log.warning("cannot accept a peer connection", extra={"fields": fields})
                self._loop.remove_reader(listening.fileno())
                self._paused[listening] = self._loop.call_later(PAUSE, self._resume, listening)
                return
            accepted.setblocking(False)
            handshake = PendingHandshake(accepted)
            if self._owner.handshaking(handshake):
                self._pending.add(handshake)
                self._tasks.start("TLS handshake of a peer", self._shake(accepted, handshake))
            else:
                accepted.close()

    def _resume(self, listening: socket.socket) -> None:
        del self._paused[listening]
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    async def _shake(self, accepted: socket.socket, handshake: PendingHandshake) -> None:
        error: Exception | None = None
        try:
            await self._loop.connect_accepted_socket(
                self._make, accepted, ssl=self._context, ssl_handshake_timeout=HELLO_TIMEOUT
            )
        except OSError as failure:
            error = failure
        except BaseException:
            accepted.close()
            raise
        finally:
            self._pending.discard(handshake)
            self._owner.handshaken(handshake, error)
