"""Accepted connections: a few in one turn of the loop, each given its protocol by a task.

    listening sockets ─▶ AcceptLoop ─▶ the owner, which queues or counts them ─▶ begin ─▶ a protocol

asyncio's servers accept a whole backlog in one turn and begin all its TLS handshakes at once, each
0.2 to 4 ms of work. The owner of an `AcceptLoop` decides how many begin, and closes the others.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from rusd.base.logs import LimitedLog, get_logger
from rusd.base.sockets import Bound, Factory

log = get_logger(__name__)

#: Seconds of pause after a failed accept (no file descriptors, for example).
PAUSE = 1.0


class AcceptLoop:
    """Accepts on the sockets of one URL until it is closed."""

    def __init__(
        self, bound: Bound, accepted: Callable[[socket.socket], None], a_turn: int
    ) -> None:
        """`accepted` is called with each connection, and must not block; at most `a_turn`
        connections are accepted in one turn.
        """
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._accepted = accepted
        self._a_turn = a_turn
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        for each in bound.sockets:
            each.setblocking(False)
            self._loop.add_reader(each.fileno(), self._accept, each)

    def close(self) -> None:
        """Accept no more, and close the listening sockets; accepted connections continue."""
        for timer in self._paused.values():
            timer.cancel()
        for each in self._bound.sockets:
            self._loop.remove_reader(each.fileno())
        self._bound.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._a_turn):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept a connection", extra={"fields": {"error": str(error)}})
                self._loop.remove_reader(listening.fileno())
                self._paused[listening] = self._loop.call_later(PAUSE, self._resume, listening)
                return
            connection.setblocking(False)
            self._accepted(connection)

    def _resume(self, listening: socket.socket) -> None:
        del self._paused[listening]
        self._loop.add_reader(listening.fileno(), self._accept, listening)


async def begin(
    connection: socket.socket, make: Factory, context: ssl.SSLContext | None, timeout: float
) -> Exception | None:
    """Give a connection its protocol, after a TLS handshake of `timeout` seconds if there is a
    `context`. Returns the error if that failed; the connection is closed then.

    The kind of the error is not restricted: OpenSSL and Python read what the other side sent, such
    as a certificate whose names are no text (UnicodeDecodeError).
    """
    seconds = None if context is None else timeout
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            make, connection, ssl=context, ssl_handshake_timeout=seconds
        )
    except OSError as error:
        return error  # asyncio has closed it, after the alert of TLS
    except BaseException as error:
        connection.close()
        if isinstance(error, Exception):
            return error
        raise
    return None


def log_rejection(refusals: LimitedLog, endpoint: str, address: str, error: Exception) -> None:
    """Log in etcd's words that a TLS connection was rejected.

    `endpoint` is "client" or "peer", `address` the remote one. A connection that the other side
    ended is logged at debug level, as in etcd: probes of load balancers do that all the time.
    """
    message = f"rejected connection on {endpoint} endpoint"
    fields = {"remote-addr": address, "error": str(error)}
    if isinstance(error, ConnectionResetError):
        log.debug(message, extra={"fields": fields})
    else:
        refusals.warning(message, fields, f"tls {address.rpartition(':')[0]}")
