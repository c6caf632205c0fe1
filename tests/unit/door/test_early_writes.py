"""Messages that a service sends at once are written while it sends, as the client takes them.

Watches behind a real door, with a stand-in for the socket, and a clock that stands still: no turn
ends for want of time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rusd.door.grpc.connection import WRITE_HIGH, GrpcConnection
from rusd.door.grpc.streaming import EARLY_BYTES
from rusd.door.h2 import frames as wire
from rusd.door.h2.outbound import BATCH_BYTES
from rusd.door.h2.stream import HIGH_BYTES
from rusd.door.time_budget import TimeBudget
from rusd.proto import rpc_pb2 as rpc
from tests.unit.door.test_turns import connected, head, message, requests
from tests.unit.door.toys import Served, served
from tests.unit.watch.scene import Scene

WATCHES = 100
#: Their responses are several times what a stream buffers.
REVISIONS = 300


class Socket:
    """Takes `room` bytes in place of the transport of `client`, then no more until `read`."""

    def __init__(self, client: GrpcConnection, room: float = float("inf")) -> None:
        self.written = 0
        self._client = client
        self._room = room
        self._transport: Any = client._transport
        client._transport = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written += len(data)
        if self.written > self._room:
            self._client.pause_writing()

    def read(self) -> None:
        self._room = float("inf")
        self._client.resume_writing()


class Watches:
    """`WATCHES` watchers of one key, on the one stream of the door."""

    def __init__(self, one: Served, scene: Scene) -> None:
        (self.client,) = one.door.connections
        (handler,) = one.toys.streams
        self._scene = scene
        self._stream = scene.hub.stream(handler.responses)
        handler.drained = self._drained  # type: ignore[method-assign]
        self._publishing = False
        for _ in range(WATCHES):
            self._stream.create(rpc.WatchCreateRequest(key=b"k"))

    def _drained(self) -> None:
        assert not self._publishing, "the service was called while it sent"
        self._stream.drained()

    def apply(self) -> None:
        """Apply `REVISIONS` revisions at once."""
        writer = self._scene.store.begin()
        for _ in range(REVISIONS):
            txn = writer.txn()
            txn.put(b"k", bytes(100), 0)
            txn.end()
        writer.commit()
        self._publishing = True
        self._scene.hub.publish(writer.events)
        self._publishing = False

    async def settle(self) -> None:
        """Let the watchers that are behind receive what they have missed."""
        while self._scene.hub.slow_watchers:
            await asyncio.sleep(0)
            self._scene.loop.step()


def with_watches(
    directory: Path, window: int, test: Callable[[Watches, Scene], Awaitable[None]]
) -> None:
    """`window`: bytes that the client takes on its stream."""

    async def run() -> None:
        scene = Scene(directory)
        async with served(TimeBudget(lambda: 0.0)) as one:
            _, writer = await connected(one)
            writer.write(requests(1, head("Talk"), message(b""), ended=False))
            writer.write(wire.window_update(1, window - (1 << 20)))
            await one.toys.opened.wait()
            (client,) = one.door.connections
            while client.h2.outbound.initial_window - client.h2.streams[1].sent != window:
                await asyncio.sleep(0)
            await asyncio.wait_for(test(Watches(one, scene), scene), 60)
            writer.transport.abort()
        scene.engine.close()

    asyncio.run(run())


def test_a_client_that_reads_is_not_made_unsynced_by_a_large_apply(tmp_path: Path) -> None:
    async def test(watches: Watches, scene: Scene) -> None:
        socket = Socket(watches.client)
        watches.apply()
        assert scene.hub.slow_watchers == 0
        assert scene.hub.events == WATCHES * REVISIONS
        assert socket.written > 2 * HIGH_BYTES

    with_watches(tmp_path, 1 << 28, test)


def test_a_client_that_does_not_read_is_made_unsynced_until_it_reads(tmp_path: Path) -> None:
    async def test(watches: Watches, scene: Scene) -> None:
        socket = Socket(watches.client, WRITE_HIGH)
        watches.apply()
        assert scene.hub.slow_watchers == WATCHES
        assert socket.written <= WRITE_HIGH + 2 * EARLY_BYTES
        socket.read()
        await watches.settle()
        assert scene.hub.events == WATCHES * REVISIONS

    with_watches(tmp_path, 1 << 28, test)


def test_a_client_that_opens_no_window_is_made_unsynced(tmp_path: Path) -> None:
    window = (1 << 20) + 1

    async def test(watches: Watches, scene: Scene) -> None:
        socket = Socket(watches.client)
        watches.apply()
        assert scene.hub.slow_watchers == WATCHES
        outbound = watches.client.h2.outbound
        assert outbound.sent <= window
        assert socket.written <= outbound.sent + (64 << 10)
        assert outbound.queued <= HIGH_BYTES + 2 * EARLY_BYTES

    with_watches(tmp_path, window, test)


def test_what_is_written_early_is_framed_at_once() -> None:
    assert EARLY_BYTES < BATCH_BYTES
