"""One TCP connection to another member: bytes become frames; the first frame names the member.

    dialled   hello out ─▶ hello in ─▶ frames both ways
    accepted  hello in ─▶ the claim is confirmed (`dial_back.py`) ─▶ hello out ─▶ frames both ways
              or a query (`query.py`) ─▶ its response ─▶ the end

Any other bytes end the connection, with a line in the log unless there were many of its kind. While
`INBOX_FRAMES` frames or `INBOX_BYTES` bytes wait for the next turn nothing more is read: TCP holds
the sender back.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Protocol, cast

from rusd.base.accept import log_rejection
from rusd.base.logs import LimitedLog
from rusd.base.sockets import shown
from rusd.raft.ports import PeerTls
from rusd.raft.statistics import Traffic
from rusd.raft.transport.dial_back import CONFIRMED
from rusd.raft.transport.frames import (
    MAX_FRAME,
    PREFIX,
    PROTOCOL,
    SMALL,
    DialBack,
    Frame,
    Hello,
    HelloRefused,
    MembersRequest,
    Refused,
    decode,
    limit,
    pack,
)
from rusd.raft.transport.handshake import Handshake
from rusd.raft.transport.tls import BAD_CERTIFICATE

HELLO_TIMEOUT = 5.0
#: How a TLS record of a handshake begins.
TLS_HANDSHAKE = b"\x16\x03"
#: Bytes waiting to be written to a slow peer above which appends are dropped (Raft repeats them).
SLOW_PEER_BYTES = 32 << 20
#: The same above which the connection is ended.
DEAD_PEER_BYTES = 256 << 20
#: Frames and bytes of one member that wait for the next turn; above, nothing more is read.
INBOX_FRAMES = 2048
INBOX_BYTES = 16 << 20
#: Milliseconds that sent bytes may stay unacknowledged by the other host's kernel.
SILENCE_MS = 5000
#: Milliseconds between two retransmissions at most. Without a limit each pause is twice the one
#: before: behind a link that was cut for 3 s a member hears nothing for 3 s more.
RETRANSMIT_MS = 1000
#: Socket option of Linux 6.15, which no Python names yet.
TCP_RTO_MAX_MS = 44


class Owner(Protocol):
    """The part of `Peers` that a connection uses."""

    handshake: Handshake
    tls: PeerTls
    #: Returns the member list, packed.
    membership: Callable[[], bytes]
    #: Log of connections that were ended.
    refusals: LimitedLog

    def hello(self, to: int, nonce: bytes = b"") -> bytes:
        """This member's hello to another, packed."""

    def opened(self, connection: "Connection") -> bool:
        """Register a connection; False if there is no room for it."""

    def admit(self, connection: "Connection", frame: Frame) -> None:
        """Check the certificate of an accepted connection: `admitted` or `close`."""

    def check_hello(self, hello: Hello, expected: int | None) -> str | None:
        """Return why a hello is refused, or None if it is valid."""

    def claimed(self, connection: "Connection", hello: Hello) -> None:
        """Check that an accepted connection belongs to the member it names; `accept` or `refuse`
        it.
        """

    def dial_refused(self, connection: "Connection", refusal: HelloRefused) -> None:
        """Handle the refusal of this member's hello by the member that a connection has dialled."""

    def dialled(self, request: DialBack) -> bool:
        """Return whether this member opened the connection that the request names."""

    def greeted(self, connection: "Connection") -> None:
        """Use a connection for its member from now on."""

    def received(self, connection: "Connection", frames: list[Frame]) -> None:
        """Pass on the frames of a member."""

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""


def _watch_for_silence(sock: socket.socket) -> None:
    """Let the kernel end a connection whose remote host does not respond, and try often until then.
    After a partition it would otherwise wait minutes for a retransmission.
    """
    if sock.family == socket.AF_UNIX:
        return
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
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # earlier kernels
            sock.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RETRANSMIT_MS)


class Connection(asyncio.Protocol):
    """One TCP connection, dialled or accepted."""

    def __init__(self, peers: Owner, expected: int | None) -> None:
        """`expected`: the member that was dialled; None for an accepted connection."""
        self._peers = peers
        self.expected = expected
        #: Names this connection when the dialled member asks back; empty if it was accepted.
        self.nonce = secrets.token_bytes(16) if expected is not None else b""
        #: How many connections had counted when this one was made.
        self.counted_before = 0
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: A check is under way: nothing is read.
        self._claimed = False
        #: The TLS connection; None on plain TCP.
        self.tls: ssl.SSLObject | None = None
        #: The certificate was accepted, or there is no TLS.
        self._admitted = True
        self._frames = self._bytes = 0
        self._paused = False
        #: The last frame was sent: what still comes is discarded.
        self._closing = False
        #: Member id once the hello was received (and confirmed, if accepted); 0 before.
        self.member = 0
        #: Traffic of the member; not counted for any member before the hello.
        self.traffic = Traffic()

    # Start and end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        if not self._peers.opened(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=SLOW_PEER_BYTES)
        _watch_for_silence(transport.get_extra_info("socket"))
        self._limit_time()
        self.tls = transport.get_extra_info("ssl_object")
        self._admitted = self.tls is None
        if self.expected is not None and self._server_is_right():
            self._admitted = True
            self.write(self._peers.hello(self.expected, self.nonce))

    def _server_is_right(self) -> bool:
        """Return whether the certificate of a dialled peer is accepted; else end the connection."""
        if self.tls is None:
            return True
        try:
            self._peers.tls.check_server(self.tls)
        except Exception as error:  # noqa: BLE001
            # Logged. Certificates are written by others: any exception refuses.
            self._say("rejected a peer's certificate", str(error))
            self.close(pack(HelloRefused(BAD_CERTIFICATE)))
            return False
        return True

    def _limit_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HELLO_TIMEOUT, self.drop, "no hello in time")

    @property
    def remote(self) -> str:
        """Address of the other side."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if isinstance(name, tuple) else str(name)

    @property
    def address(self) -> str:
        """Address and port of the other side, for logs."""
        return shown(self._transport.get_extra_info("peername")) if self._transport else ""

    @property
    def descriptor(self) -> int:
        """Number of its file descriptor."""
        assert self._transport is not None
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    @property
    def ended(self) -> bool:
        return self._transport is None or self._closing or self._transport.is_closing()

    def close(self, last: bytes = b"") -> None:
        """End the connection once `last` is written, after HELLO_TIMEOUT at the latest."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(last)
        self._transport.close()
        self._limit_time()

    def dismiss(self, last: bytes) -> None:
        """Send a member the last frame, and let it end the connection, within HELLO_TIMEOUT.

        Members send all the time. To close a socket with unread data resets the connection: the
        member's next write would fail, and it would never read what was sent before.
        """
        if self.ended or self._transport is None:
            return
        self._closing = True
        self._transport.write(last)
        if self._transport.can_write_eof():  # not over TLS
            self._transport.write_eof()
        self._transport.resume_reading()
        self._limit_time()

    def drop(self, why: str, message: str = "dropped a peer connection") -> None:
        """End the connection at once, and log why."""
        if self._transport is None:
            return
        if not self.ended:
            self._say(message, why)
        self._transport.abort()

    def refuse(self, refusal: HelloRefused) -> None:
        """Send a refusal and end the connection."""
        if not self.ended:
            self._say("refused a peer", refusal.reason)
            self.close(pack(refusal))

    def refused(self, refusal: HelloRefused) -> None:
        """The other side refused this member's hello."""
        self.drop(f"remote error: {refusal.reason}", "a peer refuses this member")

    def _say(self, message: str, why: str) -> None:
        fields: dict[str, object] = {"remote": self.remote, "reason": why}
        member = self.member or self.expected
        if member:
            fields["peer"] = f"{member:x}"
        # What is behind a colon in a reason may come from the other side.
        self._peers.refusals.warning(message, fields, f"{member} {why.partition(':')[0]}")

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if isinstance(error, ssl.SSLError) and not self.member:
            log_rejection(self._peers.refusals, "peer", self.address, error)
        self._transport = None
        self._peers.closed(self)

    # In

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._buffer += data
        try:
            self._read()
        except Refused as refused:
            self.drop(str(refused))

    def _read(self) -> None:
        """Parse whole frames in the buffer, as many as may be handled now."""
        buffer, start = self._buffer, 0
        frames: list[Frame] = []
        while start < len(buffer) and self._may_read():
            end = self._end_of_frame(start)
            if end is None:
                break
            with memoryview(buffer) as view, view[start + 4 : end] as body:
                frame = decode(body, member=bool(self.member))
            if self.member:
                frames.append(frame)
                self._frames += 1
                self._bytes += end - start
            else:
                self._opening(frame)
            start = end
        del buffer[:start]
        if self._claimed and len(buffer) > SMALL:
            raise Refused("messages before a hello was answered")
        if frames:
            self.traffic.received_bytes += start
            self._peers.received(self, frames)

    def _may_read(self) -> bool:
        if self._claimed or self._transport is None or self._transport.is_closing():
            return False
        if self._frames < INBOX_FRAMES and self._bytes < INBOX_BYTES:
            return True
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()
        return False

    def handled(self) -> None:
        """Resume reading after all received frames were handled."""
        self._frames = self._bytes = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
                asyncio.get_running_loop().call_soon(self.data_received, b"")

    def _end_of_frame(self, start: int) -> int | None:
        """Returns where the frame at `start` ends, or None if it is incomplete."""
        buffer = self._buffer
        there = len(buffer) - start - 4
        if there < 0:
            return None
        length = int.from_bytes(buffer[start : start + 4], "big")
        if self.tls is None and not self.member and buffer.startswith(TLS_HANDSHAKE):
            raise Refused("a TLS handshake on a port without TLS")
        if length > (MAX_FRAME if self.member else SMALL):
            raise Refused("a frame that is too long")
        if length > SMALL:  # every kind may have SMALL bytes
            if there < PREFIX:
                return None
            kind = buffer[start + 4 : start + 4 + PREFIX]
            if length > limit(kind, member=bool(self.member)):
                raise Refused("a frame that is too long for its kind")
        return start + 4 + length if there >= length else None

    # The first frame

    def _opening(self, frame: Frame) -> None:
        if isinstance(frame, HelloRefused) and self.expected is None and self.tls is not None:
            self.refused(frame)
        elif not self._admitted:
            self._claimed = True
            self._peers.admit(self, frame)
        elif isinstance(frame, Hello):
            self._hello(frame)
        elif self.expected is not None:
            if not isinstance(frame, HelloRefused):
                raise Refused("no hello")
            self.refused(frame)
            self._peers.dial_refused(self, frame)
        elif isinstance(frame, MembersRequest) and frame.protocol == PROTOCOL:
            self.close(self._peers.membership())
        elif isinstance(frame, DialBack) and self._peers.dialled(frame):
            self.close(CONFIRMED)
        else:
            raise Refused("not a member's first message")

    def _hello(self, hello: Hello) -> None:
        problem = self._peers.check_hello(hello, self.expected)
        if problem is None and self.expected is not None:
            refusal = self._peers.handshake.receive(hello)
            if refusal is not None:
                self.refuse(refusal)
            else:
                self._accept(hello.member)
        elif problem is None:
            self._claimed = True
            self._peers.claimed(self, hello)
        elif self.expected is None and hello.nonce:
            self.refuse(HelloRefused(problem))
        else:
            self.drop(problem)

    def admitted(self, frame: Frame) -> None:
        """Resume reading with the first frame, after the certificate was accepted."""
        if self.ended:
            return
        self._claimed, self._admitted = False, True
        try:
            self._opening(frame)
        except Refused as refused:
            self.drop(str(refused))
        else:
            self.data_received(b"")

    def accept(self, member: int) -> None:
        """Accept the connection as that of the member it names."""
        if self.ended:
            return
        self._claimed = False
        self.write(self._peers.hello(member))
        self._accept(member)
        self.data_received(b"")

    def _accept(self, member: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.member = member
        self._peers.greeted(self)

    # Out

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def send(self, data: bytes, droppable: bool) -> None:
        """Write a packed frame to a member. Ends the connection above DEAD_PEER_BYTES that the
        operating system has not taken; drops a `droppable` frame above SLOW_PEER_BYTES.
        """
        transport, traffic = self._transport, self.traffic
        if transport is None:
            return
        backlog = transport.get_write_buffer_size()
        if backlog > SLOW_PEER_BYTES and (droppable or backlog > DEAD_PEER_BYTES):
            traffic.sent_failures += 1
            if backlog > DEAD_PEER_BYTES:
                self.drop("it does not read")
            return
        traffic.sent_bytes += len(data)
        transport.write(data)
