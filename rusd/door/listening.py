"""Listening sockets for URLs: every address of every URL, or none at all.

URL ── addresses.py ── socket ── loop ──┬── http, unix ──────────┬── admission.py ── a protocol
                                        └── https, unixs ── TLS ─┘
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from rusd.config_values import is_secure
from rusd.door.addresses import bindable
from rusd.door.admission import Factory, Gate
from rusd.door.tls import ClientTls

#: Connections the kernel keeps until they are accepted; it lowers this to its own maximum.
BACKLOG = 4096
#: Seconds for a TLS handshake, as in etcd.
HANDSHAKE_SECONDS = 10.0
#: Seconds of silence before the first TCP keep-alive probe, and between probes.
KEEPALIVE_SECONDS = 30

#: What serves https and unixs; a bare context admits whom it verifies.
Tls = ClientTls | ssl.SSLContext | None


class Listeners:
    """What one door listens on."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._files: list[SocketFile] = []

    async def listen(self, urls: Sequence[str], factory: Factory, tls: Tls = None) -> None:
        """Listen on every address of `urls`, with `tls` for https and unixs.

        OSError, with the URL in its text, if one cannot be had; then on none of them.
        """
        new = Listeners()
        try:
            for url in urls:
                await new._listen(url, factory, tls)
        except BaseException:
            new.close()
            raise
        self._servers += new._servers
        self._files += new._files

    def close(self) -> None:
        """Accept nothing more; connections go on. Socket files are removed."""
        for server in self._servers:
            server.close()
        for file in self._files:
            file.remove()
        self._servers, self._files = [], []

    async def _listen(self, url: str, factory: Factory, tls: Tls) -> None:
        secure = is_secure(url)
        if secure and tls is None:
            raise OSError(errno.EINVAL, f"cannot listen on {url}: no certificate")
        context = tls.context if isinstance(tls, ClientTls) else tls
        gate = Gate(factory, tls if secure and isinstance(tls, ClientTls) else None)
        sockets = self._bound(url)
        while sockets:
            with _closed_on_failure(sockets):
                server = await _serve(sockets[0], gate, context if secure else None)
            del sockets[0]
            self._servers.append(server)

    def _bound(self, url: str) -> list[socket.socket]:
        """One socket for each address of `url`, listening."""
        sockets: list[socket.socket] = []
        addresses = bindable(url)
        try:
            for address in addresses:
                _, unix, path = address.partition("unix:")
                sockets.append(self._unix(Path(path)) if unix else _tcp(address))
        except OSError as error:
            for each in sockets:
                each.close()
            reason = error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {url}: {reason}") from error
        return sockets

    def _unix(self, path: Path) -> socket.socket:
        _make_room(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(path))
            self._files.append(SocketFile(path))
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        return bound


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


def _tcp(address: str) -> socket.socket:
    """A socket that listens on "host:port"; what is set here every accepted connection inherits."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if hasattr(socket, option):
                bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_SECONDS)
        bound.bind((host.strip("[]"), int(port)))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


async def _serve(
    bound: socket.socket, gate: Gate, context: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    timeout = HANDSHAKE_SECONDS if context is not None else None
    make = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
    server: asyncio.Server = await make(
        gate, sock=bound, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout
    )
    return server


@contextlib.contextmanager
def _closed_on_failure(sockets: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for each in sockets:
            each.close()
        raise
