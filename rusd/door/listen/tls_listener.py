"""TLS at an address, alone or beside plaintext; the first byte of a connection tells which.

    accepted ─▶ first byte ─┬─ a TLS handshake ─▶ queue ─▶ `HANDSHAKES` a turn ─▶ asyncio
                            └─ anything else ─▶ plaintext, if the address serves it, else as TLS

The byte is peeked in the kernel's buffer before asyncio gets the connection, so that the handshake
sees all of it. A connection that sends no byte in time is closed. A handshake costs 0.2 to 4 ms in
one piece, when the client's first message is read: thousands of clients that connect at once, as
after the restart of a member, would hold the loop for seconds. Handshakes therefore begin a few a
turn, in the order of their connections.

Clients that complete their first message later than their first byte are not delayed by this, so a
hostile client can still make many handshakes fall into one turn (`docs/limits.md`).
"""

import asyncio
import socket
import ssl
from collections import deque
from functools import partial

from rusd.base.accept import AcceptLoop, begin
from rusd.base.sockets import Bound, peername, shown
from rusd.base.supervised import Tasks
from rusd.door import closings
from rusd.door.lateness import Timeout
from rusd.door.listen.admission import AdmissionControl

#: The type of a TLS record that begins a handshake (RFC 8446, section 5.1).
_HANDSHAKE = 0x16
#: Connections accepted, and handshakes begun, in one turn of the loop.
_ACCEPTS = 64
HANDSHAKES = 8


class TlsListener:
    """A listener for TLS, and for plaintext if it is given a `plain` admission."""

    def __init__(
        self,
        bound: Bound,
        plain: AdmissionControl | None,
        secure: AdmissionControl,
        context: ssl.SSLContext,
        timeout: float,
        tasks: Tasks,
    ) -> None:
        """`timeout`: seconds for the first byte, and again for the handshake."""
        self._loop = asyncio.get_running_loop()
        self._plain = plain
        self._secure = secure
        self._context = context
        self._timeout = timeout
        self._tasks = tasks
        #: Connections that have sent no byte, and their timeouts.
        self._waiting: dict[socket.socket, Timeout] = {}
        #: Connections whose first byte begins a handshake.
        self._handshakes: deque[socket.socket] = deque()
        self._starting = False
        self._accepts = AcceptLoop(bound, self._accepted, _ACCEPTS)

    def close(self) -> None:
        """Accept no more connections; those whose protocol or handshake has begun continue."""
        self._accepts.close()
        for connection in list(self._waiting):
            self._forget(connection)
            connection.close()
        while self._handshakes:
            self._handshakes.popleft().close()

    def _accepted(self, connection: socket.socket) -> None:
        if self._secure.is_full(connection.fileno()):
            connection.close()
            return
        self._waiting[connection] = Timeout(self._timeout, partial(self._timed_out, connection))
        self._loop.add_reader(connection.fileno(), self._first_byte, connection)

    def _timed_out(self, connection: socket.socket) -> None:
        closings.log_usual(shown(peername(connection)), closings.NO_FIRST_BYTES)
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
        if first and (first[0] == _HANDSHAKE or self._plain is None):
            # (Without plaintext, TLS refuses what is not a handshake: it reads it first, so that
            # closing does not reset the connection.)
            self._handshakes.append(connection)
            if not self._starting:
                self._starting = True
                self._loop.call_soon(self._start_handshakes)
        elif first:
            assert self._plain is not None
            self._hand_over(connection, self._plain, None)
        else:
            connection.close()

    def _start_handshakes(self) -> None:
        """Begin some of the handshakes; the rest in later turns."""
        waiting = self._handshakes
        for _ in range(min(HANDSHAKES, len(waiting))):
            self._hand_over(waiting.popleft(), self._secure, self._context)
        self._starting = bool(waiting)
        if waiting:
            self._loop.call_soon(self._start_handshakes)

    def _hand_over(
        self, connection: socket.socket, gate: AdmissionControl, context: ssl.SSLContext | None
    ) -> None:
        self._tasks.start("accept a client", self._connect(connection, gate, context))

    async def _connect(
        self, connection: socket.socket, gate: AdmissionControl, context: ssl.SSLContext | None
    ) -> None:
        remote = peername(connection)
        error = await begin(connection, gate, context, self._timeout)
        if error is not None:
            gate.reject(remote, error)
