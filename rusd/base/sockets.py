"""Listening sockets and connections for URLs: every address of a URL, or none at all.

A name such as `localhost` stands for several addresses; one that is taken is an error, so that two
members cannot share a port without a word, each on its own half. A wildcard (0.0.0.0 or [::]) is
one socket for IPv4 and IPv6, as in Go, and for IPv4 alone where the machine has no IPv6. The scheme
says nothing here: what is spoken on a connection is the caller's matter.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from rusd.base.urls import Url

Factory = Callable[[], asyncio.Protocol]
P = TypeVar("P", bound=asyncio.BaseProtocol)

#: Connections the kernel keeps until they are accepted; it lowers this to its own maximum.
BACKLOG = 4096
#: Seconds of silence before the first TCP keep-alive probe, and between probes.
KEEPALIVE_SECONDS = 30
#: Errors of connecting to an unreachable or malformed URL (a member's URLs may be any text: etcd
#: checks them in additions only).
UNREACHABLE = (OSError, ValueError, OverflowError)
#: An address family or an address that this machine does not have is no conflict.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENOPROTOOPT})


class SocketFile:
    """The file of a unix socket this process has made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = _identity(path)

    def remove(self) -> None:
        """Unless somebody has put another one in its place."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._made:
                self._path.unlink()


class Bound:
    """The listening sockets of one URL; nobody accepts on them yet."""

    def __init__(self, url: str) -> None:
        """Resolves names, so it may block. OSError, with the URL in its text, if an address is
        taken, the name is unknown, or this machine has none of its addresses. ValueError if it is
        no URL."""
        self.sockets: list[socket.socket] = []
        self.files: list[SocketFile] = []
        parsed = Url(url)
        try:
            if parsed.is_unix:
                self._unix(parsed)
            else:
                self._tcp(parsed)
        except OSError as error:
            self.close()
            reason = error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {url}: {reason}") from error

    def close(self) -> None:
        """For what nobody serves."""
        for each in self.sockets:
            each.close()
        for file in self.files:
            file.remove()

    def _tcp(self, url: Url) -> None:
        host, port = url.address
        if _is_wildcard(host):
            self.sockets.append(_wildcard(url))
            return
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, each) for family, _, _, _, each in found):
            try:
                self.sockets.append(_listening(family, address))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
        if not self.sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no such address here")

    def _unix(self, url: Url) -> None:
        if not url.path:
            raise OSError(errno.EINVAL, "it names no file")
        path = Path(url.path)
        _make_room(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(bound)
        bound.bind(str(path))
        self.files.append(SocketFile(path))
        bound.listen(BACKLOG)


class Listener:
    """Accepts connections on what was bound."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._files: list[SocketFile] = []

    async def serve(
        self,
        bound: Bound,
        factory: Factory,
        context: ssl.SSLContext | None = None,
        handshake_timeout: float | None = None,
    ) -> None:
        """Begin; `bound` belongs to this listener from then on, also if this fails."""
        loop = asyncio.get_running_loop()
        self._files += bound.files
        timeout = handshake_timeout if context is not None else None
        while bound.sockets:
            each = bound.sockets[0]
            make = loop.create_unix_server if each.family == socket.AF_UNIX else loop.create_server
            try:
                server: asyncio.Server = await make(
                    factory, sock=each, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout
                )
            except BaseException:
                bound.close()
                raise
            del bound.sockets[0]
            self._servers.append(server)

    def close(self) -> None:
        """Accept nothing more; connections go on. Socket files are removed."""
        for server in self._servers:
            server.close()
        for file in self._files:
            file.remove()
        self._servers, self._files = [], []


async def connect(factory: Callable[[], P], url: str) -> P:
    """The protocol of a new connection to a URL, without TLS. UNREACHABLE if there is none.

    A URL that asks for TLS is not reached in plaintext.
    """
    parsed = _plain(url)
    loop = asyncio.get_running_loop()
    if parsed.is_unix:
        _, protocol = await loop.create_unix_connection(factory, parsed.path)
    else:
        _, protocol = await loop.create_connection(factory, parsed.host, parsed.port)
    return protocol


async def open_streams(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same as two streams."""
    parsed = _plain(url)
    if parsed.is_unix:
        return await asyncio.open_unix_connection(parsed.path)
    return await asyncio.open_connection(parsed.host, parsed.port)


def shown(peername: object) -> str:
    """The remote end of a connection, for logs; an IPv4 client of an IPv6 socket as itself."""
    if not isinstance(peername, tuple) or len(peername) < 2:
        return f"unix:{peername or ''}"
    host, port = str(peername[0]), peername[1]
    if host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _plain(url: str) -> Url:
    parsed = Url(url)
    if parsed.is_secure:
        raise ConnectionError(errno.EPROTONOSUPPORT, f"no TLS between members yet: {url}")
    return parsed


def _is_wildcard(host: str) -> bool:
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def _wildcard(url: Url) -> socket.socket:
    try:
        return _listening(socket.AF_INET6, ("::", url.port), both=True)
    except OSError as error:
        if error.errno not in _ABSENT or ":" in url.host:
            raise
        return _listening(socket.AF_INET, ("0.0.0.0", url.port))


def _listening(family: int, address: Any, *, both: bool = False) -> socket.socket:
    """A socket that listens; what is set here every accepted connection inherits. `both`: IPv4
    clients reach the IPv6 socket too."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As servers do, so that connections of a member that has just stopped do not count.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if hasattr(socket, option):
                bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_SECONDS)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _make_room(path: Path) -> None:
    """Remove the socket file a dead process has left; OSError if it is anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of this name that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A live server with a full backlog would block a connect.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
