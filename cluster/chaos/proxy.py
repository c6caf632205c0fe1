"""A network of TCP proxies between members: links can be cut, delayed and lossy without any rights.

    member i ──dials──▶ proxy of j (the peer address j advertises) ──▶ j (where it really listens)

The dialling member is found by the process at the other end of the connection (Linux: /proc).
Each connection carries two directions, and each direction obeys the rule of its own link:

- cut: bytes are held and reading stops, so that the sender's window fills up; a new connection is
  not forwarded. Neither end is notified, as with a pulled cable. When the rule is removed, held
  bytes are forwarded: TCP would have retransmitted them.
- delay, jitter: bytes are forwarded later, in order.
- loss: a piece is delayed by the time of a retransmission, which grows as TCP's does.

The proxies run on an event loop in a thread of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .. import ports
from ..process import Member
from .network import CLEAR, Link, Rule

#: Bytes read at a time.
PIECE = 64 << 10
#: Seconds of TCP's first retransmission; each further one doubles it.
RETRANSMISSION = 0.2
#: Bytes in a packet, for the chance that one of a piece is lost.
PACKET = 1448


class ProxyNetwork:
    """All proxies of one cluster."""

    able = frozenset(("cut", "delay", "loss"))

    def __init__(
        self,
        routes: Mapping[int, tuple[tuple[str, int], tuple[str, int]]],
        pids: Callable[[], Mapping[int, int]],
        seed: int = 0,
    ) -> None:
        """`routes`: member -> (address to listen on, address it listens on itself).

        `pids`: process id -> member, of those that run now. Listens when this returns.
        """
        self._routes = routes
        self._pids = pids
        self._random = random.Random(seed)
        self._rules: dict[Link, Rule] = {}
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        except BaseException:
            self.close()
            raise

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        def change() -> None:
            for link in links:
                self._rules[link] = rule
            self._changed()

        self._loop.call_soon_threadsafe(change)

    def heal(self) -> None:
        def change() -> None:
            self._rules.clear()
            self._changed()

        self._loop.call_soon_threadsafe(change)

    def close(self) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            for connection in list(self._connections):
                connection.task.cancel()
            tasks = [connection.task for connection in self._connections]
            await asyncio.gather(*tasks, return_exceptions=True)

        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    # --- on the loop --------------------------------------------------------------------------

    async def _listen(self) -> None:
        for member, ((host, port), _) in self._routes.items():

            def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, member: int = member
            ) -> None:
                connection = _Connection(self, member, reader, writer)
                self._connections.add(connection)
                connection.task.add_done_callback(lambda _: self._connections.discard(connection))

            self._servers.append(await asyncio.start_server(accept, host, port, limit=PIECE))

    def rule(self, sender: int, receiver: int) -> Rule:
        """Return the rule of the link from `sender` to `receiver`."""
        return self._rules.get((sender, receiver), CLEAR)

    def late(self, rule: Rule, size: int) -> float:
        """Return the seconds by which a piece of `size` bytes is delayed."""
        late = rule.delay + self._random.random() * rule.jitter
        if rule.loss:
            packets = 1 + size // PACKET
            chance = 1 - (1 - rule.loss) ** packets
            wait = RETRANSMISSION
            while self._random.random() < chance and wait < 10:
                late += wait
                wait *= 2
                chance = rule.loss
        return late

    def _changed(self) -> None:
        for connection in self._connections:
            connection.changed.set()

    def target(self, member: int) -> tuple[str, int]:
        """Return the address that a member itself listens on."""
        return self._routes[member][1]

    def dialler(self, address: tuple[str, int], own: tuple[str, int]) -> int | None:
        """Return the member whose process has the socket at `address`, connected to `own`."""
        return owner(address, own, self._pids())


def between(
    members: Sequence[Member],
    private: Sequence[int],
    pids: Callable[[], Mapping[int, int]],
    seed: int = 0,
) -> ProxyNetwork:
    """Listen at the peer URLs that members advertise, and forward to the `private` ports, at which
    they listen.
    """
    return ProxyNetwork(
        {
            index: ((ports.HOST, int(member.peer_url.rpartition(":")[2])), (ports.HOST, port))
            for index, (member, port) in enumerate(zip(members, private, strict=True))
        },
        pids,
        seed,
    )


class _Connection:
    """One connection between two members, in two halves."""

    def __init__(
        self,
        network: ProxyNetwork,
        dialled: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._network = network
        self._dialled = dialled
        self._reader = reader
        self._writer = writer
        #: Set whenever a rule changed.
        self.changed = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        other: asyncio.StreamWriter | None = None
        try:
            peer = self._writer.get_extra_info("peername")[:2]
            own = self._writer.get_extra_info("sockname")[:2]
            dialler = self._network.dialler(peer, own)
            if dialler is not None:
                await self._passable(dialler, self._dialled)
                await self._passable(self._dialled, dialler)
            host, port = self._network.target(self._dialled)
            back, other = await asyncio.open_connection(host, port, limit=PIECE)
            halves = [
                asyncio.ensure_future(self._forward(self._reader, other, dialler, self._dialled)),
                asyncio.ensure_future(self._forward(back, self._writer, self._dialled, dialler)),
            ]
            try:
                await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for half in halves:
                    half.cancel()
                await asyncio.gather(*halves, return_exceptions=True)
        except OSError:
            pass  # the member is down: so is its proxy's connection
        finally:
            for writer in (self._writer, other):
                if writer is not None:
                    with contextlib.suppress(RuntimeError):
                        writer.transport.abort()

    async def _passable(self, sender: int, receiver: int) -> None:
        while self._network.rule(sender, receiver).cut:
            self.changed.clear()
            await self.changed.wait()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sender: int | None,
        receiver: int | None,
    ) -> None:
        """Forward one direction until its sender ends it."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            while True:
                due, piece = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if sender is not None and receiver is not None:
                    await self._passable(sender, receiver)
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()

        delivery = asyncio.ensure_future(deliver())
        try:
            while not delivery.done():
                try:
                    piece = await reader.read(PIECE)
                except OSError:
                    piece = b""  # a reset is information as well, and waits for the end of a cut
                late = 0.0
                if sender is not None and receiver is not None:
                    late = self._network.late(self._network.rule(sender, receiver), len(piece))
                put = asyncio.ensure_future(queue.put((loop.time() + late, piece)))
                await asyncio.wait({put, delivery}, return_when=asyncio.FIRST_COMPLETED)
                put.cancel()
                if not piece:
                    break
            await delivery
        finally:
            delivery.cancel()


def owner(address: tuple[str, int], remote: tuple[str, int], pids: Mapping[int, int]) -> int | None:
    """Return which of the processes `pids` (process id -> member) has the TCP socket that is bound
    to `address` and connected to `remote`; None if none of them has.
    """
    inode = _inode(address, remote)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for pid, member in pids.items():
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()) == wanted:
                        return member
    return None


def _inode(address: tuple[str, int], remote: tuple[str, int]) -> str | None:
    wanted = (_hex(address), _hex(remote))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == wanted:
            return fields[9]
    return None


def _hex(address: tuple[str, int]) -> str:
    """Format an IPv4 address as in the kernel's table (bytes in host order)."""
    host = "".join(f"{int(part):02X}" for part in reversed(address[0].split(".")))
    return f"{host}:{address[1]:04X}"
