"""A member's watch room on a stage: a real store, a hub, clients that read when told to."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from google.protobuf.message import Message

from rusd.base.chunks import Encoded, whole
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.storage.engine import Engine
from rusd.watch import WatchHub

CLUSTER_ID = 7
MEMBER_ID = 8
TERM = 3


def header(revision: int) -> bytes:
    """The encoded header field of an answer at `revision`."""
    message = rpc.WatchResponse(
        header=rpc.ResponseHeader(
            cluster_id=CLUSTER_ID, member_id=MEMBER_ID, revision=revision, raft_term=TERM
        )
    )
    return message.SerializeToString()


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """A clock that stands still until the test moves it; `tick` is what each look at it costs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tick = 0.0
        self.delays: list[float] = []
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Timer]] = []

    def time(self) -> float:
        self.now += self.tick
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        timer = Timer(callback)
        self.delays.append(delay)
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), timer))
        return timer

    def step(self) -> None:
        """Run the next timer, if there is one, as if its time had come."""
        if not self._timers:
            return
        due, _, timer = heapq.heappop(self._timers)
        self.now = max(self.now, due)
        if timer.callback is not None:
            timer.callback()

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass and run everything that falls due on the way."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.step()
        self.now = max(self.now, end)


class Client:
    """A client's watch stream: its response stream as the door provides it, and what it has
    received.
    """

    def __init__(self, scene: Scene, room: int | None = None) -> None:
        """`room`: how many messages it takes before it has to be read; None = no limit."""
        self.room = room
        self.unread: list[bytes] = []
        self.finished = False
        self.error: Exception | None = None
        self._scene = scene
        self.stream = scene.hub.stream(self)

    # Outlet

    def send(self, message: Encoded) -> None:
        assert not self.finished
        message = whole(message)
        response = rpc.WatchResponse.FromString(message)
        assert self.ready() or not response.events, "events were pushed into a full outlet"
        self.unread.append(message)

    def ready(self) -> bool:
        return self.room is None or len(self.unread) < self.room

    def finish(self, error: Exception | None = None) -> None:
        self.finished = True
        self.error = error

    # The client's side

    def create(self, key: bytes = b"", range_end: bytes = b"", **fields: object) -> None:
        self.stream.create(rpc.WatchCreateRequest(key=key, range_end=range_end, **fields))

    def take(self) -> list[rpc.WatchResponse]:
        """Read what is there, without letting the server go on."""
        messages = [rpc.WatchResponse.FromString(message) for message in self.unread]
        self.unread.clear()
        return messages

    def read(self) -> list[rpc.WatchResponse]:
        """Let the server work and read until nothing more comes."""
        received: list[rpc.WatchResponse] = []
        self._scene.loop.advance()
        while self.unread:
            was_full = not self.ready()
            received += self.take()
            if was_full:
                self.stream.drained()
            self._scene.loop.advance()
        return received


class Scene:
    """A store whose every commit is published to the hub, as a member does it."""

    def __init__(self, directory: Path, **settings: float) -> None:
        self.loop = Loop()
        self.engine = Engine.open(directory)
        self.store = Store(self.engine)
        self.hub = WatchHub(self.store, self.loop, header, **settings)  # type: ignore[arg-type]

    def put(self, *keys: bytes, value: bytes = b"v") -> int:
        """Put all keys in one revision, which is returned."""
        return self.change(puts=[(key, value) for key in keys])

    def delete(self, *keys: bytes) -> int:
        """Delete all keys in one revision, which is returned."""
        return self.change(deletes=keys)

    def change(
        self,
        puts: Iterable[tuple[bytes, bytes]] = (),
        deletes: Iterable[bytes] = (),
        *,
        publish: bool = True,
    ) -> int:
        """One transaction, one commit. Unpublished: as a snapshot from the leader brings it."""
        writer = self.store.begin()
        txn = writer.txn()
        for key in deletes:
            txn.delete(key)
        for key, value in puts:
            txn.put(key, value, 0)
        revision = txn.end()
        writer.commit()
        if publish:
            self.hub.publish(writer.events)
        return revision

    def compact(self, revision: int) -> None:
        writer = self.store.begin()
        writer.compact(revision)
        writer.commit()

    def client(self, room: int | None = None) -> Client:
        return Client(self, room)


def seen(responses: Iterable[rpc.WatchResponse]) -> list[tuple[str, bytes, int]]:
    """The events of responses as ("put" | "delete", key, mod_revision)."""
    return [
        ("delete" if event.type else "put", event.kv.key, event.kv.mod_revision)
        for response in responses
        for event in response.events
    ]


def plain(message: Message) -> dict[str, object]:
    """The fields of a response that are set, without its header."""
    return {field.name: value for field, value in message.ListFields() if field.name != "header"}
