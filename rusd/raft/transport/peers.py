"""All connections of one member to its peers.

One connection for each pair of members carries both directions; the member with the higher id
dials, and the other one too if that has no success (`dialling.py`). The first frame is a hello
(`handshake.py`). The dialling side knows its peer by the address that it dialled, the accepting
side asks back there (`dial_back.py`). A connection that is replaced by another one of its member
ends, and its late frames are dropped. In place of a hello any host may ask for the member list
(`member_query.py`).

A member of a release before the nonce cannot be asked back, so none of its connections is accepted.
"""

import asyncio
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import UNSET, structs

from rusd.base.accept import log_rejection
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.sockets import UNREACHABLE, Bound, Listener
from rusd.base.supervised import Fail, Tasks
from rusd.base.urls import Url
from rusd.raft.ports import WITHOUT_TLS, PeerTls
from rusd.raft.statistics import Traffic
from rusd.raft.transport.connection import HELLO_TIMEOUT, Connection
from rusd.raft.transport.dial_back import Answer, ask_back
from rusd.raft.transport.dialling import patience, replaces
from rusd.raft.transport.frames import (
    PROTOCOL,
    DialBack,
    Frame,
    Hello,
    HelloRefused,
    Removed,
    pack,
)
from rusd.raft.transport.handshake import Handshake
from rusd.raft.transport.tls import BAD_CERTIFICATE, connect, report
from rusd.raft.transport.tls_listener import PendingHandshake, TlsListener
from rusd.raft.transport.unconfirmed import UnconfirmedConnections

log = get_logger(__name__)

#: Seconds for a connection, as etcd's at the default timeouts. Lost packets are sent again after 1,
#: 3 and 7 s: a new connection is made sooner once a link works again. Each second attempt in a row
#: has more time, for a TLS handshake with a member that is short of processor time.
DIAL_TIMEOUT = 2.0
DIAL_PATIENCE = 5.0
#: Seconds until a peer that was not reached is dialled again, as etcd's.
REDIAL = 0.1
#: The same after a refusal, which costs both members more: at most, doubled from REDIAL.
REDIAL_MAX = 1.0
#: Connections that claim to be of one member and are being confirmed at once.
MAX_CLAIMS = 8
BOTH_DIALLED = "both members dialled: another connection counts"


class Peers:
    """All connections of this member."""

    def __init__(
        self,
        member: int,
        cluster: int,
        urls: Mapping[int, Sequence[str]],
        *,
        handshake: Handshake,
        on_frames: Callable[[int, list[Frame]], None],
        on_connected: Callable[[int], None],
        on_lost: Callable[[int], None],
        fail: Fail,
        tls: PeerTls = WITHOUT_TLS,
        reuse_port: bool = False,
    ) -> None:
        """`urls`: member id -> its peer URLs, for all others. The callbacks get member ids; `fail`
        gets the exception of a background task, which ends the member. `reuse_port`: see `Bound`.
        """
        self._member = member
        self._cluster = cluster
        self.handshake = handshake
        self._urls = dict(urls)
        self._on_frames = on_frames
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._live: dict[int, Connection] = {}
        self._all: set[Connection] = set()
        self._unconfirmed: UnconfirmedConnections[Connection | PendingHandshake] = (
            UnconfirmedConnections()
        )
        self.tls = tls
        self._reuse_port = reuse_port
        self._tls_listeners: list[TlsListener] = []
        #: Dialling, and asking whether a connection is a member's.
        self._tasks = Tasks(fail)
        #: Member -> connections that claim to be its, and are being confirmed.
        self._claims: Counter[int] = Counter()
        self._listener = Listener()
        self._dialers: dict[int, asyncio.Task[None]] = {}
        #: URLs whose last attempt took DIAL_TIMEOUT.
        self._slow: set[str] = set()
        self._lost: dict[int, asyncio.Event] = {}
        #: How many connections have counted, and member -> the number of its last one.
        self._counted = 0
        self._last: dict[int, int] = {}
        #: Member -> when its connection was made, by the loop's clock.
        self._since: dict[int, float] = {}
        #: By member, from the first attempt to reach it on.
        self.traffic: defaultdict[int, Traffic] = defaultdict(Traffic)
        self._started = False
        #: Returns the response to `MembersRequest`, packed.
        self.membership: Callable[[], bytes] = bytes
        self.refusals = LimitedLog(log)

    def hello(self, to: int, nonce: bytes = b"") -> bytes:
        """Return this member's encoded hello to another. `nonce`: of a connection it dialled."""
        hello = self.handshake.hello(to)
        return pack(structs.replace(hello, nonce=nonce) if nonce else hello)

    async def start(self, listen: Sequence[str]) -> None:
        """Listen on the URLs and keep dialling the members. OSError if a port is taken."""
        try:
            for url in listen:
                await self._listen(url)
        except BaseException:
            self._close_listeners()
            raise
        self._started = True
        self._dial(self._urls)

    async def _listen(self, url: str) -> None:
        context = self.tls.server if Url(url).is_secure else None
        bound = Bound(url, reuse_port=self._reuse_port)
        if context is None:
            await self._listener.serve(bound, self._accepted)
        else:
            listener = TlsListener(self, bound, context, self._accepted, self._tasks)
            self._tls_listeners.append(listener)

    def _accepted(self) -> Connection:
        return Connection(self, None)

    def _close_listeners(self) -> None:
        self._listener.close()
        for listener in self._tls_listeners:
            listener.close()
        self._tls_listeners = []

    def _dial(self, members: Iterable[int]) -> None:
        for member in members:
            if self._started and member not in self._dialers:
                self._lost[member] = asyncio.Event()
                self._dialers[member] = self._tasks.start(
                    f"dial peer {member:x}", self._keep_dialling(member)
                )

    def _end_dialling(self, member: int) -> None:
        dialer = self._dialers.pop(member, None)
        if dialer is not None:
            dialer.cancel()

    def reconfigure(self, urls: Mapping[int, Sequence[str]], removed: Collection[int] = ()) -> None:
        """Use these members and URLs. Closes connections to departed peers; sends `Removed` to
        those among the `removed`.
        """
        gone, new = self._urls.keys() - urls.keys(), urls.keys() - self._urls.keys()
        self._urls = dict(urls)
        for member in gone:
            self._end_dialling(member)
            connection = self._live.pop(member, None)
            if connection is not None:
                if member in removed:
                    connection.dismiss(pack(Removed()))
                else:
                    connection.close()
            self.traffic.pop(member, None)
            self._last.pop(member, None)
        self._dial(new)

    async def stop(self) -> None:
        self._started = False
        self._close_listeners()
        await self._tasks.stop()
        for connection in list(self._all):
            connection.close()

    def connected(self) -> set[int]:
        return set(self._live)

    def connected_since(self, member: int) -> float | None:
        """Return the loop time at which the connection to a member was made; None without one."""
        return self._since.get(member) if member in self._live else None

    def send(self, member: int, data: bytes, *, droppable: bool = False) -> None:
        """Write a packed frame if the member is connected; see `Connection.send`."""
        connection = self._live.get(member)
        if connection is None:
            if member in self._urls:
                self.traffic[member].sent_failures += 1
            return
        connection.send(data, droppable)

    def break_off(self, member: int, why: str) -> None:
        """End the connection of a member that violated the protocol."""
        connection = self._live.get(member)
        if connection is not None:
            connection.drop(why)

    def refused(self, member: int, refusal: HelloRefused) -> None:
        """Handle the refusal of this member's hello by a member that dialled it."""
        connection = self._live.get(member)
        if connection is not None:
            connection.refused(refusal)

    # Calls of the connections

    def opened(self, connection: Connection) -> bool:
        """Register a connection; False if there is no room for an accepted one, or no need any
        more for one that was dialled.
        """
        if connection.expected is None:
            if not self._make_room(connection):
                return False
        elif not self._may_count(connection.expected, self._member):
            return False
        connection.counted_before = self._counted
        self._all.add(connection)
        return True

    def _may_count(self, member: int, dialler: int) -> bool:
        """Return whether a connection to a member, dialled by `dialler`, would count."""
        old = self._live.get(member)
        if old is None:
            return True
        return replaces(dialler, member if old.expected is None else self._member)

    def _is_outdated(self, connection: Connection, member: int) -> bool:
        """Return whether another connection of the member has counted since this one was made. Its
        hello then may tell of a journal that is shorter than what was acknowledged meanwhile.
        """
        return self._last.get(member, 0) > connection.counted_before

    def _make_room(self, new: Connection | PendingHandshake) -> bool:
        if self._unconfirmed.too_many_files(new.descriptor):
            self.refusals.warning("too many open files: peer connections refused", {})
            return False
        oldest = self._unconfirmed.add(new, new.remote)
        if oldest is not None:
            oldest.drop("too many connections without a hello")
        return True

    def handshake_begun(self, handshake: PendingHandshake) -> bool:
        """Count a TLS handshake; False if there is no room for it."""
        return self._make_room(handshake)

    def handshake_ended(self, handshake: PendingHandshake, error: Exception | None) -> None:
        """A TLS handshake ended; with `error` if there is no connection."""
        self._unconfirmed.remove(handshake)
        if error is not None:
            log_rejection(self.refusals, "peer", handshake.address, error)

    def admit(self, connection: Connection, frame: Frame) -> None:
        """Check the certificate of an accepted connection, and let its first frame in."""
        self._tasks.start("check a peer's certificate", self._admit(connection, frame))

    async def _admit(self, connection: Connection, frame: Frame) -> None:
        secure = connection.tls
        assert secure is not None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                await self.tls.admit(secure, connection.remote)
        except Exception as error:  # noqa: BLE001
            # Logged. Certificates are written by others: any exception refuses.
            log_rejection(self.refusals, "peer", connection.address, error)
            connection.close(pack(HelloRefused(BAD_CERTIFICATE)))
        else:
            connection.admitted(frame)

    def check_hello(self, hello: Hello, expected: int | None) -> str | None:
        """Return why a hello is refused, or None if it is valid."""
        if hello.protocol != PROTOCOL:
            return "another protocol than " + PROTOCOL
        if hello.cluster != self._cluster:
            return f"cluster ID mismatch: {hello.cluster:x} is not {self._cluster:x}"
        member = hello.member
        if member not in self._urls or (expected is not None and member != expected):
            return f"not the id of a peer: {member:x}"
        if not self._may_count(member, member if expected is None else self._member):
            return BOTH_DIALLED
        return None

    def claimed(self, connection: Connection, hello: Hello) -> None:
        """Check the member that an accepted connection names, by a request to that member's
        address.
        """
        member, nonce = hello.member, hello.nonce
        self._unconfirmed.remove(connection)
        if nonce is UNSET:
            connection.drop("a hello without a nonce, of an older release: dialled instead")
            return
        if self._claims[member] >= MAX_CLAIMS:
            connection.refuse(HelloRefused("too many connections claim to be of this member"))
            return
        self._claims[member] += 1
        task = self._tasks.start(
            f"confirm a connection of {member:x}", self._confirm(connection, hello, nonce)
        )
        task.add_done_callback(lambda _: self._claims.subtract((member,)))

    async def _confirm(self, connection: Connection, hello: Hello, nonce: bytes) -> None:
        member = hello.member
        urls = self._urls.get(member, ())
        if not await self._proven(connection, urls, nonce):
            connection.refuse(HelloRefused("the member's peer URLs do not confirm its connection"))
        elif member not in self._urls:
            connection.drop("removed meanwhile")
        elif self._is_outdated(connection, member) or not self._may_count(member, member):
            connection.refuse(HelloRefused(BOTH_DIALLED))
        elif (refusal := self.handshake.receive(hello)) is not None:
            connection.refuse(refusal)
        else:
            connection.accept(member)

    async def _proven(self, connection: Connection, urls: Sequence[str], nonce: bytes) -> bool:
        """Return whether a connection was dialled by the owner of these URLs."""
        secure = connection.tls
        # Half the time is left for the hello if nobody can be asked.
        within = HELLO_TIMEOUT if secure is None else HELLO_TIMEOUT / 2
        answer = await ask_back(urls, self._cluster, self._member, nonce, self.tls, within)
        if answer is not Answer.NONE or secure is None:
            return answer is Answer.YES
        try:
            return any(self.tls.is_for(secure, Url(url).host) for url in urls)
        except Exception as error:  # noqa: BLE001
            # Logged. Certificates are written by others: any exception refuses.
            log_rejection(self.refusals, "peer", connection.address, error)
            return False

    def dial_refused(self, connection: Connection, refusal: HelloRefused) -> None:
        """Handle the refusal of this member's hello by the member that a connection has dialled."""
        member = connection.expected
        assert member is not None
        if not self._is_outdated(connection, member):
            self.handshake.refused(member, refusal)

    def dialled(self, request: DialBack) -> bool:
        """Return whether this member opened the connection that the request names."""
        return request.cluster == self._cluster and any(
            connection.expected == request.member and connection.nonce == request.nonce
            for connection in self._all
        )

    def greeted(self, connection: Connection) -> None:
        member = connection.member
        old = self._live.pop(member, None)
        if old is not None:
            old.drop("replaced by a newer connection")
            self._on_lost(member)
        self._live[member] = connection
        self._counted += 1
        self._last[member] = self._counted
        for other in [one for one in self._all if one.expected == member and not one.member]:
            if not self._may_count(member, self._member):
                other.drop(BOTH_DIALLED)
        connection.traffic = self.traffic[member]
        if old is None:
            self._since[member] = asyncio.get_running_loop().time()
        self._on_connected(member)

    def handled(self) -> None:
        """Resume reading after all received frames were handled."""
        for connection in self._live.values():
            connection.handled()

    def received(self, connection: Connection, frames: list[Frame]) -> None:
        if self._live.get(connection.member) is connection:
            self._on_frames(connection.member, frames)

    def closed(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._unconfirmed.remove(connection)
        if self._live.get(connection.member) is connection:
            del self._live[connection.member]
            connection.traffic.received_failures += 1
            connection.traffic.disconnects += 1
            self._on_lost(connection.member)
        for member in {connection.member, connection.expected or 0} & self._lost.keys():
            self._lost[member].set()

    async def _keep_dialling(self, member: int) -> None:
        first = patience(self._member, member)
        await asyncio.sleep(first)
        refused = REDIAL
        while True:
            wait = REDIAL
            for url in self._urls[member]:
                confirmed = await self._dial_once(member, url)
                if confirmed:
                    wait, refused = max(REDIAL, first), REDIAL
                    break
                if confirmed is not None:
                    wait = refused = min(REDIAL_MAX, 2 * refused)
            await asyncio.sleep(wait)

    async def _dial_once(self, member: int, url: str) -> bool | None:
        """Connect, unless the member is connected. Returns, at the connection's end, whether it was
        confirmed to be the member's; None if there was no connection.
        """
        if member in self._live:
            await self._until(member, lambda: member not in self._live)
            return True
        timeout = DIAL_PATIENCE if url in self._slow else DIAL_TIMEOUT
        self._slow.discard(url)
        try:
            # (wait_for of Python 3.11 can swallow a cancellation: stop would hang.)
            async with asyncio.timeout(timeout):
                connection = await connect(lambda: Connection(self, member), url, self.tls)
        except UNREACHABLE as error:
            if isinstance(error, TimeoutError) and timeout == DIAL_TIMEOUT:
                self._slow.add(url)
            self.traffic[member].sent_failures += 1
            if isinstance(error, ssl.SSLError):
                report(url, str(error))
                return False
            return None
        await self._until(member, lambda: connection.ended)
        return connection.member == member

    async def _until(self, member: int, condition: Callable[[], bool]) -> None:
        """Wait for a condition that the end of one of a member's connections brings."""
        while not condition():
            self._lost[member].clear()
            await self._lost[member].wait()
