"""Plaintext and TLS at one address: the first byte of a connection tells which it is.

The byte is peeked in the kernel's buffer before asyncio gets the connection, so that the handshake
sees all of it. A connection that sends no byte in time is closed.
"""

import asyncio
import contextlib
import socket
import ssl

from rusd.base.logs import get_logger
from rusd.base.sockets import Bound
from rusd.door.listen.admission import AdmissionControl

log = get_logger(__name__)

#: The type of a TLS record that begins a handshake (RFC 8446, section 5.1).
_HANDSHAKE = 0x16
#: Connections accepted in one turn of the loop.
_ACCEPTS = 64
#: Seconds of pause after a failed accept (no file descriptors, for example).
_PAUSE = 1.0


class TlsOrPlainListener:
    """A listener for both."""

    def __init__(
        self,
        bound: Bound,
        plain: AdmissionControl,
        secure: AdmissionControl,
        context: ssl.SSLContext,
        timeout: float,
    ) -> None:
        """`timeout`: seconds for the first byte, and again for the handshake."""
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._plain = plain
        self._secure = secure
        self._context = context
        self._timeout = timeout
        #: Connections that have sent no byte, and their timeouts.
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for each in bound.sockets:
            each.setblocking(False)
            self._loop.add_reader(each.fileno(), self._accept, each)

    def close(self) -> None:
        """Accept no more connections; those that have sent a byte continue."""
        for timer in self._paused.values():
            timer.cancel()
        for each in self._bound.sockets:
            self._loop.remove_reader(each.fileno())
        self._bound.close()
        for connection in list(self._waiting):
            self._forget(connection)
            connection.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept a connection", extra={"fields": {"error": str(error)}})
                self._loop.remove_reader(listening.fileno())
                self._paused[listening] = self._loop.call_later(_PAUSE, self._resume, listening)
                return
            if self._plain.is_full(connection.fileno()):
                connection.close()
                continue
            connection.setblocking(False)
            self._waiting[connection] = self._loop.call_later(
                self._timeout, self._timed_out, connection
            )
            self._loop.add_reader(connection.fileno(), self._first_byte, connection)

    def _resume(self, listening: socket.socket) -> None:
        del self._paused[listening]
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _timed_out(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        self._waiting.pop(connection).cancel()
        self._loop.remove_reader(connection.fileno())

    def _first_byte(self, connection: socket.socket) -> None:
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        self._forget(connection)
        if not first:
            connection.close()
            return
        task = self._loop.create_task(self._hand_over(connection, first[0] == _HANDSHAKE))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, connection: socket.socket, secure: bool) -> None:
        try:
            with contextlib.suppress(OSError):  # a handshake that failed, a client that has gone
                await self._loop.connect_accepted_socket(
                    self._secure if secure else self._plain,
                    connection,
                    ssl=self._context if secure else None,
                    ssl_handshake_timeout=self._timeout if secure else None,
                )
        except BaseException:
            connection.close()
            raise
