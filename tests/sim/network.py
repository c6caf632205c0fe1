"""Connections between members, as TCP makes and breaks them.

Each pair of members has at most one connection. Within it, what one sends arrives in order; what is
under way when it breaks is lost. What a process sent before it ended arrives or is lost: it is lost
if the other one writes before it reads, since a socket closed with unread data resets the
connection. What was sent to a removed member arrives (`Connection.dismiss`). A direction that is
cut holds everything back without notice, until it heals or silence ends the connection.
"""

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rusd.raft.transport.frames import Frame, Removed, decode, pack
from rusd.raft.transport.handshake import Handshake

if TYPE_CHECKING:
    from tests.sim.member import Host
    from tests.sim.world import World

#: Seconds between looks whether members may be connected that are not.
REDIAL = 0.03
#: Seconds without a way through after which a connection ends.
SILENCE = 5.0

#: Seconds between the arrivals of two frames that were sent together.
APART = 1e-5
FAST = (0.0002, 0.003)
#: A question, the leader's round and the answer take four of these: longer than RETRY of
#: `rusd/raft/read/waiting.py`, and a leader is still heard within an election timeout.
SLOW = (0.12, 0.125)


class Direction:
    """Frames from one member to another over one connection."""

    def __init__(self) -> None:
        self.last = 0.0
        #: Held back by a cut.
        self.held: deque[list[Frame]] = deque()


class Connection:
    """One life of a connection between two members' processes."""

    def __init__(self, one: "Host", other: "Host") -> None:
        self.ends = {one.member: one.process, other.member: other.process}
        self.directions = {one.member: Direction(), other.member: Direction()}
        self.broken = False
        #: The member that ended it, or whose process ended: what it sent before still arrives.
        self.ended_by = 0


class Network:
    """All connections of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._chance = random.Random(world.chance.getrandbits(64))
        self._connections: dict[frozenset[int], Connection] = {}
        #: (sender, receiver) that are cut.
        self.cut: set[tuple[int, int]] = set()
        #: Seconds a frame takes, least and most.
        self.latency = FAST
        self._since: dict[frozenset[int], float] = {}

    def tick(self) -> None:
        """Connects members whose links allow it, and ends connections that were silent too long."""
        world = self._world
        world.loop.call_later(REDIAL, self.tick)
        hosts = [host for host in world.hosts.values() if host.process is not None]
        for number, one in enumerate(hosts):
            for other in hosts[number + 1 :]:
                self._look(one, other)

    def _look(self, one: "Host", other: "Host") -> None:
        pair = frozenset((one.member, other.member))
        cut = {(one.member, other.member), (other.member, one.member)} & self.cut
        connection = self._connections.get(pair)
        if connection is not None:
            since = self._since.setdefault(pair, self._world.loop.now)
            if not cut:
                del self._since[pair]
            elif self._world.loop.now - since > SILENCE:
                self.break_off(pair)
        elif not cut and not (one.paused or other.paused) and one.knows(other) and other.knows(one):
            if not all(self._greets(*hosts) for hosts in ((one, other), (other, one))):
                return
            self._since.pop(pair, None)
            self._connections[pair] = connection = Connection(one, other)
            for host, peer in ((one, other), (other, one)):
                self._later(
                    host, connection, lambda h=host, p=peer, c=connection: h.connected(p, c)
                )

    def _greets(self, host: "Host", peer: "Host") -> bool:
        """Return whether a member accepts another's hello."""
        refusal = host.peers.handshake.receive(peer.peers.handshake.hello(host.member))
        if refusal is None:
            return True
        process = peer.process

        def notify() -> None:
            if process is peer.process:
                peer.peers.handshake.refused(host.member, refusal)

        self._world.loop.call_soon(notify)
        return False

    def _later(
        self, host: "Host", connection: Connection, call: Callable[[], None], least: float = 0.0
    ) -> None:
        """Calls a host after all that was delivered over this connection."""
        direction = next(
            connection.directions[member]
            for member in connection.directions
            if member != host.member
        )
        process = connection.ends[host.member]
        now = self._world.loop.now
        takes = self._chance.uniform(*self.latency)
        direction.last = max(direction.last + APART, now + least + takes)

        def arrive() -> None:
            if host.process is process and process is not None:
                call()

        self._world.loop.call_at(direction.last, arrive)

    def send(self, sender: "Host", receiver: int, data: bytes, departs: float) -> None:
        """Frames, as they go over the wire."""
        pair = frozenset((sender.member, receiver))
        connection = self._connections.get(pair)
        if connection is None or connection.ends[sender.member] is not sender.process:
            return
        frames = frames_of(data)
        direction = connection.directions[sender.member]
        if (sender.member, receiver) in self.cut or direction.held:
            direction.held.append(frames)
            return
        self._deliver(connection, sender.member, receiver, frames, departs)

    def _deliver(
        self,
        connection: Connection,
        sender: int,
        receiver: int,
        frames: list[Frame],
        departs: float,
    ) -> None:
        host = self._world.hosts[receiver]

        def take() -> None:
            if connection.broken and connection.ended_by != sender:
                return
            if (sender, receiver) in self.cut or connection.directions[sender].held:
                connection.directions[sender].held.append(frames)
            else:
                host.received(sender, frames, connection)

        self._later(host, connection, take, max(0.0, departs - self._world.loop.now))

    def heal(self, links: Sequence[tuple[int, int]] | None = None) -> None:
        """These links, or all, are whole again: what was held back goes on."""
        self.cut -= set(self.cut if links is None else links)
        for connection in self._connections.values():
            for sender, direction in connection.directions.items():
                (receiver,) = connection.directions.keys() - {sender}
                if (sender, receiver) not in self.cut:
                    held, direction.held = direction.held, deque()
                    for frames in held:
                        self._deliver(connection, sender, receiver, frames, self._world.loop.now)

    def break_off(self, pair: frozenset[int], *, ended_by: int = 0, silent_for: int = 0) -> None:
        """End a connection. `ended_by`: the member that closes it, or whose process is gone.
        `silent_for`: the member whose machine is gone, of which the other hears only by silence.
        """
        connection = self._connections.pop(pair, None)
        if connection is None:
            return
        connection.broken = True
        connection.ended_by = ended_by
        self._since.pop(pair, None)
        for member in sorted(pair):
            (peer,) = pair - {member}
            host = self._world.hosts[member]
            wait = self._chance.uniform(0.5, 2.0) if peer == silent_for else 0.0
            self._later(
                host, connection, lambda host=host, peer=peer: host.lost(peer, connection), wait
            )

    def down(self, member: int, *, silently: bool) -> None:
        """A process is gone, with its machine (`silently`) or without."""
        for pair in [pair for pair in self._connections if member in pair]:
            arrives = self._chance.random() < 0.5
            ended_by, silent_for = member if arrives else 0, member if silently else 0
            self.break_off(pair, ended_by=ended_by, silent_for=silent_for)

    def pairs(self) -> list[frozenset[int]]:
        return list(self._connections)


class SimPeers:
    """`rusd.raft.transport.peers.Peers` over the network of a world."""

    #: The host whose node is being made.
    host: "Host"

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
        fail: Callable[[BaseException], None],
        tls: object = None,
        reuse_port: bool = False,
    ) -> None:
        self._host = SimPeers.host
        self._host.peers = self
        self.urls = dict(urls)
        self.handshake = handshake
        self.on_frames, self.on_connected, self.on_lost = on_frames, on_connected, on_lost
        #: Member -> when it was connected.
        self.live: dict[int, float] = {}
        self.membership: Callable[[], bytes] = bytes

    async def start(self, listen: Sequence[str]) -> None:
        """The world connects."""

    async def stop(self) -> None:
        self._host.world.network.down(self._host.member, silently=False)

    def reconfigure(self, urls: Mapping[int, Sequence[str]], removed: Collection[int] = ()) -> None:
        gone = self.urls.keys() - urls.keys()
        self.urls = dict(urls)
        for member in sorted(gone):
            if self.live.pop(member, None) is not None:
                if member in removed:
                    self._host.send(member, pack(Removed()))
                pair = frozenset((self._host.member, member))
                self._host.world.network.break_off(pair, ended_by=self._host.member)

    def handled(self) -> None:
        """Nothing is held back."""

    def connected(self) -> set[int]:
        return set(self.live)

    def connected_since(self, member: int) -> float | None:
        return self.live.get(member)

    def send(self, member: int, data: bytes, *, droppable: bool = False) -> None:
        if member in self.live:
            self._host.send(member, data)

    def break_off(self, member: int, why: str) -> None:
        self._host.world.broken(AssertionError(f"a member sent what none sends: {why}"))


def frames_of(data: bytes) -> list[Frame]:
    """The frames of some bytes of the wire."""
    frames, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        frames.append(decode(data[at + 4 : at + 4 + size], member=True))
        at += 4 + size
    return frames
