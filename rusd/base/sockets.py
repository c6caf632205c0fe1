"""Listening sockets and connections for URLs: every address of a URL, or none.

A name such as `localhost` has several addresses. If one is taken, the whole URL is refused, so that
two members cannot listen on one port, each for another address family. A wildcard (0.0.0.0 or [::])
is one socket for IPv4 and IPv6, as in Go, and for IPv4 alone on a machine without IPv6. The scheme
has no effect here: the caller decides about TLS.
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

#: Connections that the kernel queues for accept; it lowers this to its own maximum.
BACKLOG = 4096
#: Seconds of silence before the first TCP keep-alive probe, and between probes.
KEEPALIVE_SECONDS = 30
#: Errors from dialling an unreachable or malformed URL (etcd checks a member's URLs only when the
#: member is added, so they may be any text).
UNREACHABLE = (OSError, ValueError, OverflowError)
#: Errors of binding an address or address family that this machine does not have.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENOPROTOOPT})


class SocketFile:
    """The file of a unix socket that this process created."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = _identity(path)

    def remove(self) -> None:
        """Remove the file, unless it was replaced by another one."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._made:
                self._path.unlink()


class Bound:
    """The bound sockets of one URL, before anything accepts on them."""

    def __init__(self, url: str, *, reuse_port: bool = False) -> None:
        """Bind every address of `url`. May block to resolve names.

        `reuse_port`: share a TCP port with other sockets that do (SO_REUSEPORT).

        Raises OSError, with the URL in its text, if an address is taken, the name is unknown, or
        this machine has none of its addresses; ValueError if the text is not a URL.
        """
        self.sockets: list[socket.socket] = []
        self._reuse_port = reuse_port
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
        """Close sockets that are not served, and remove their files."""
        for each in self.sockets:
            each.close()
        for file in self.files:
            file.remove()

    def _tcp(self, url: Url) -> None:
        host, port = url.address
        if _is_wildcard(host):
            self.sockets.append(self._wildcard(url))
            return
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, each) for family, _, _, _, each in found):
            try:
                self.sockets.append(self._listening(family, address))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
        if not self.sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no such address here")

    def _wildcard(self, url: Url) -> socket.socket:
        try:
            return self._listening(socket.AF_INET6, ("::", url.port), both=True)
        except OSError as error:
            if error.errno not in _ABSENT or ":" in url.host:
                raise
            return self._listening(socket.AF_INET, ("0.0.0.0", url.port))

    def _listening(self, family: int, address: Any, both: bool = False) -> socket.socket:
        return _listening(family, address, both, self._reuse_port)

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
    """Accepts connections on bound sockets."""

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
        """Accept on `bound`, which this listener closes from then on, also if this fails."""
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
        """Stop accepting and remove socket files; open connections continue."""
        for server in self._servers:
            server.close()
        for file in self._files:
            file.remove()
        self._servers, self._files = [], []


async def connect(
    factory: Callable[[], P], url: str, context: ssl.SSLContext | None = None, local: str = ""
) -> P:
    """Connect to a URL, with TLS by `context` if it requires that. Raises one of UNREACHABLE.

    A URL that requires TLS is not dialled in plaintext. `local`: the address to dial from.
    """
    parsed, name = _dialled(url, context)
    loop = asyncio.get_running_loop()
    if parsed.is_unix:
        _, protocol = await loop.create_unix_connection(factory, parsed.path)
    else:
        _, protocol = await loop.create_connection(
            factory,
            parsed.host,
            parsed.port,
            ssl=context,
            server_hostname=name,
            local_addr=_local(local),
        )
    return protocol


async def open_streams(
    url: str, context: ssl.SSLContext | None = None, local: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a URL, as `connect` does; return its two streams."""
    parsed, name = _dialled(url, context)
    if parsed.is_unix:
        return await asyncio.open_unix_connection(parsed.path)
    return await asyncio.open_connection(
        parsed.host,
        parsed.port,
        ssl=context,
        server_hostname=name,
        local_addr=_local(local),
    )


async def answers(url: str, within: float, local: str = "") -> bool:
    """Return whether the address of a URL accepts or refuses a TCP connection in time."""
    parsed = Url(url)
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(
                parsed.host, parsed.port, local_addr=_local(local)
            )
    except TimeoutError:
        return False
    except UNREACHABLE:
        return True
    writer.close()
    return True


def peername(connection: socket.socket) -> Any:
    """The remote address of a connection; None if the other side has gone."""
    try:
        return connection.getpeername()
    except OSError:
        return None


def shown(peername: object) -> str:
    """Format a remote address for logs; an IPv4-mapped address as IPv4."""
    if not isinstance(peername, tuple) or len(peername) < 2:
        return f"unix:{peername or ''}"
    host, port = str(peername[0]), peername[1]
    if host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _local(address: str) -> tuple[str, int] | None:
    return (address, 0) if address else None


def _dialled(url: str, context: ssl.SSLContext | None) -> tuple[Url, str | None]:
    """The URL, and the name that the server's certificate must have."""
    parsed = Url(url)
    if parsed.is_secure != (context is not None) or parsed.scheme == "unixs":
        raise ConnectionError(errno.EPROTONOSUPPORT, f"cannot dial {url}: no TLS for it")
    return parsed, parsed.host if parsed.is_secure else None


def _is_wildcard(host: str) -> bool:
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def _listening(family: int, address: Any, both: bool, reuse_port: bool) -> socket.socket:
    """Create a listening socket, whose options its accepted connections inherit.

    `both`: an IPv6 socket accepts IPv4 clients too.
    """
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A member that was just stopped leaves connections in TIME_WAIT, which would block.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
    """Remove the socket file of a dead process. Raises OSError if it is anything else."""
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
