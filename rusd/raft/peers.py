"""Connections to the other members: frames of msgpack over TCP, nothing of Raft's meaning.

    frame = length u32 big-endian | msgpack

The first frame of a connection is a hello (protocol, cluster id, member id); the member with the
higher id dials. Whoever sends anything else, random bytes or an HTTP request, is dropped with one
line in the log. A new connection of a member replaces its old one, whose late frames are dropped.
Instead of a hello anybody may ask who the members are (`joining.py`): one answer, then the end.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from rusd.logs import get_logger

log = get_logger(__name__)

PROTOCOL = "rusd-peer/1"
#: The largest frame accepted: appends of 4 MiB slices with one large entry at their end.
MAX_FRAME = 64 << 20
#: A frame before the hello is small.
MAX_HELLO = 1 << 10
HELLO_TIMEOUT = 5.0
#: Bytes waiting to be written to a slow peer above which appends are dropped (Raft sends them
#: again), and above which the connection is.
SLOW_PEER_BYTES = 32 << 20
DEAD_PEER_BYTES = 256 << 20
#: Milliseconds that sent bytes may stay unacknowledged by the other host's kernel.
SILENCE_MS = 5000
#: A first frame that asks who the members are.
MEMBERS_QUESTION = {"type": "members", "protocol": PROTOCOL}
#: What comes of dialling an address where nobody is, or that is none (a member's URLs may be any
#: text: etcd checks them in additions only).
UNREACHABLE = (OSError, ValueError, OverflowError)
REDIAL = 0.1
REDIAL_MAX = 1.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Frame = dict[str, Any]


def _watch_for_silence(sock: socket.socket) -> None:
    """Let the kernel end a connection whose other host fell silent. Else a partition that heals
    would leave it waiting for a retransmission that comes minutes later."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 2),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE_MS),
    ):
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def pack(frame: Frame) -> bytes:
    """A frame as it goes over the wire."""
    body = _encode(frame)
    return len(body).to_bytes(4, "big") + body


def address(url: str) -> tuple[str, int]:
    """Host and port of a peer URL."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or 2380


class Connection(asyncio.Protocol):
    """One TCP connection to another member, or to who knows whom."""

    def __init__(self, peers: "Peers", expected: int | None) -> None:
        """`expected`: the member that was dialled; None for an accepted connection."""
        self._peers = peers
        self._expected = expected
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Member id once the hello was seen.
        self.member = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._transport.set_write_buffer_limits(high=SLOW_PEER_BYTES)
        _watch_for_silence(transport.get_extra_info("socket"))
        self._peers.opened(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HELLO_TIMEOUT, self.drop, "no hello in time")
        if self._expected is not None:
            self.write(self._peers.hello)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start, frames = 0, []
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > (MAX_FRAME if self.member else MAX_HELLO):
                self.drop(f"frame of {length} bytes")
                return
            end = start + 4 + length
            if len(buffer) < end:
                break
            try:
                frame = _decode(bytes(buffer[start + 4 : end]))
            except msgspec.DecodeError:
                self.drop("not a frame")
                return
            start = end
            if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
                self.drop("not a message")
                return
            if not self.member:
                if not self._greeted(frame):
                    return
            else:
                frames.append(frame)
        del buffer[:start]
        if frames:
            self._peers.received(self, frames)

    def _greeted(self, frame: Frame) -> bool:
        if frame == MEMBERS_QUESTION and self._expected is None:
            self.close(self._peers.membership)
            return False
        problem = self._peers.check_hello(frame, self._expected)
        if problem:
            self.drop(problem)
            return False
        if self._timer is not None:
            self._timer.cancel()
        self.member = frame["member"]
        if self._expected is None:
            self.write(self._peers.hello)
        self._peers.greeted(self)
        return True

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self, last: bytes) -> None:
        """End the connection once `last` is written."""
        if self._transport is not None:
            self._transport.write(last)
            self._transport.close()

    def backlog(self) -> int:
        """Bytes not yet taken by the operating system."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def drop(self, why: str) -> None:
        """End the connection with one line in the log."""
        if self._transport is None or self._transport.is_closing():
            return
        peer = self._transport.get_extra_info("peername")
        log.warning(
            "dropped a peer connection", extra={"fields": {"remote": str(peer), "reason": why}}
        )
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._peers.closed(self)


class Peers:
    """All connections of this member."""

    def __init__(
        self,
        member: int,
        cluster: int,
        urls: Mapping[int, Sequence[str]],
        *,
        on_frames: Callable[[int, list[Frame]], None],
        on_connected: Callable[[int], None],
        on_lost: Callable[[int], None],
    ) -> None:
        """`urls`: member id -> its peer URLs, for all others. The callbacks get member ids."""
        self._member = member
        self._cluster = cluster
        self._urls = dict(urls)
        self._on_frames = on_frames
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._live: dict[int, Connection] = {}
        self._all: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        #: Members with lower ids are dialled.
        self._dialers: dict[int, asyncio.Task[None]] = {}
        self._lost: dict[int, asyncio.Event] = {}
        #: Member -> when its connection was made, by the loop's clock.
        self._since: dict[int, float] = {}
        self._started = False
        #: The answer to MEMBERS_QUESTION, packed.
        self.membership = b""
        self.hello = pack(
            {"type": "hello", "protocol": PROTOCOL, "cluster": cluster, "member": member}
        )

    async def start(self, listen: Sequence[str]) -> None:
        """Listen on the URLs and keep dialling members with lower ids. OSError if a port is
        taken."""
        loop = asyncio.get_running_loop()
        for url in listen:
            host, port = address(url)
            server = await loop.create_server(lambda: Connection(self, None), host, port)
            self._servers.append(server)
        self._started = True
        for member in self._urls:
            self._dial(member)

    def _dial(self, member: int) -> None:
        if member < self._member:
            self._lost[member] = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._dialers[member] = loop.create_task(self._keep_dialling(member))

    def reconfigure(self, urls: Mapping[int, Sequence[str]], removed: Collection[int] = ()) -> None:
        """Other members, or other URLs of the same. Who is gone is cut off, and told so if it is
        among the `removed`."""
        gone, new = self._urls.keys() - urls.keys(), urls.keys() - self._urls.keys()
        self._urls = dict(urls)
        for member in gone:
            dialer = self._dialers.pop(member, None)
            if dialer is not None:
                dialer.cancel()
            connection = self._live.pop(member, None)
            if connection is not None:
                connection.close(pack({"type": "removed"}) if member in removed else b"")
        if self._started:
            for member in new:
                self._dial(member)

    async def stop(self) -> None:
        self._started = False
        for task in self._dialers.values():
            task.cancel()
        await asyncio.gather(*self._dialers.values(), return_exceptions=True)
        for server in self._servers:
            server.close()
        for connection in list(self._all):
            if connection._transport is not None:
                connection._transport.close()

    def connected(self) -> set[int]:
        return set(self._live)

    def connected_since(self, member: int) -> float | None:
        """When the connection to a member was made, by the loop's clock; None: there is none."""
        return self._since.get(member) if member in self._live else None

    def send(self, member: int, data: bytes, *, droppable: bool = False) -> None:
        """Write a packed frame, if the member is connected and not hopelessly behind."""
        connection = self._live.get(member)
        if connection is None:
            return
        backlog = connection.backlog()
        if backlog > DEAD_PEER_BYTES:
            connection.drop("it does not read")
        elif not (droppable and backlog > SLOW_PEER_BYTES):
            connection.write(data)

    def break_off(self, member: int, why: str) -> None:
        """End a member's connection (it sent what no member sends)."""
        connection = self._live.get(member)
        if connection is not None:
            connection.drop(why)

    # What connections report

    def opened(self, connection: Connection) -> None:
        self._all.add(connection)

    def check_hello(self, frame: Frame, expected: int | None) -> str | None:
        """Why this hello is refused, None if it is fine."""
        if frame.get("type") != "hello" or frame.get("protocol") != PROTOCOL:
            return "not a member of a rusd cluster"
        if frame.get("cluster") != self._cluster:
            return f"another cluster: {frame.get('cluster')!r}"
        member = frame.get("member")
        if member not in self._urls or (expected is not None and member != expected):
            return f"unexpected member {member!r}"
        return None

    def greeted(self, connection: Connection) -> None:
        member = connection.member
        old = self._live.pop(member, None)
        if old is not None:
            old.drop("replaced by a newer connection")
            self._on_lost(member)
        self._live[member] = connection
        if old is None:
            self._since[member] = asyncio.get_running_loop().time()
        self._on_connected(member)

    def received(self, connection: Connection, frames: list[Frame]) -> None:
        if self._live.get(connection.member) is connection:
            self._on_frames(connection.member, frames)

    def closed(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._live.get(connection.member) is connection:
            del self._live[connection.member]
            self._on_lost(connection.member)
        for member in {connection.member, connection._expected or 0} & self._lost.keys():
            self._lost[member].set()

    async def _keep_dialling(self, member: int) -> None:
        loop = asyncio.get_running_loop()
        wait = REDIAL
        while True:
            for url in self._urls[member]:
                self._lost[member].clear()
                try:
                    host, port = address(url)
                    # (wait_for of Python 3.11 can swallow a cancellation: stop would hang.)
                    async with asyncio.timeout(HELLO_TIMEOUT):
                        await loop.create_connection(lambda: Connection(self, member), host, port)
                except UNREACHABLE:
                    continue
                await self._lost[member].wait()
                wait = REDIAL
            await asyncio.sleep(wait)
            wait = min(REDIAL_MAX, wait * 1.5)
