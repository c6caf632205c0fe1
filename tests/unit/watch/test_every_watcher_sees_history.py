"""The room's promise as a property: whatever happens, a watcher sees its part of history.

Random writes, compactions and snapshots; watchers that join at random revisions on streams whose
clients read at random moments and which take only so many messages. What each watcher received
must be the events it asked for from its start on: a gapless beginning of them while things happen,
and all of them in the end, or up to a cancel that names a compaction above what it saw.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.mvcc import history
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.watch import groups, unsynced
from rusd.wire.keyvalue import Event
from tests.unit.watch.scene import Client, Scene

KEYS = [b"a", b"ab", b"b", b"c"]
NOPUT = rpc.WatchCreateRequest.NOPUT
NODELETE = rpc.WatchCreateRequest.NODELETE


@dataclass
class Watched:
    """Request of one watcher and the events sent to it."""

    request: rpc.WatchCreateRequest
    #: First revision whose events it must see.
    first: int
    created: bool = False
    events: list[kv_pb2.Event] = field(default_factory=list)
    last_response: int = 0
    compacted_at: int = 0

    def wants(self, event: Event) -> bool:
        request = self.request
        if (NOPUT if event.type == 0 else NODELETE) in request.filters:
            return False
        if not request.range_end:
            return event.key == request.key
        above = request.range_end == b"\0" or event.key < request.range_end
        return request.key <= event.key and above


class WatchRoom:
    """A scene in which a seed decides what happens."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.scene = Scene(directory, progress_interval=1.0)
        #: All that ever happened, in order.
        self.log: list[Event] = []
        self.clients: list[Client] = []
        self.watched: list[dict[int, Watched]] = []
        self.last_header: list[int] = []
        for _ in range(12):
            self.write()
        for room in (None, 1, 3):
            self.clients.append(self.scene.client(room))
            self.watched.append({})
            self.last_header.append(0)

    def run(self, steps: int) -> None:
        rules = [self.write, self.watch, self.work, self.read, self.ask_progress]
        for _ in range(steps):
            self.random.choice(rules)()
            if self.random.random() < 0.01:
                self.compact()

    def settle(self) -> None:
        """Let everything be read, and look at the whole."""
        self.scene.loop.tick = 0.0
        while self.scene.hub.slow_watchers or any(client.unread for client in self.clients):
            self.scene.loop.advance(0.01)
            for number in range(len(self.clients)):
                self.read(number)
        for watched in self.watched:
            for one in watched.values():
                self.check(one, one.compacted_at or self.scene.store.revision + 1)
        self.scene.engine.close()

    # What happens

    def write(self) -> None:
        writer = self.scene.store.begin()
        for _ in range(self.random.choice([1, 1, 3])):
            keys = self.random.sample(KEYS, self.random.choice([1, 1, 2]))
            txn = writer.txn()
            for key in keys:
                if self.random.random() < 0.3:
                    txn.delete(key)
                else:
                    txn.put(key, b"v%d" % len(self.log), 0)
            txn.end()
        writer.commit()
        for _, events in writer.events:
            self.log += events
        if self.random.random() < 0.9:
            self.scene.hub.publish(writer.events)
        else:
            # As if a snapshot of the leader had brought it.
            self.scene.hub.restored()

    def compact(self) -> None:
        lowest = max(self.scene.store.compact_revision + 1, 1)
        if lowest <= self.scene.store.revision:
            self.scene.compact(self.random.randint(lowest, self.scene.store.revision))
            for _ in self.scene.store.compact_slices():
                pass

    def watch(self) -> None:
        number = self.random.randrange(len(self.clients))
        revision = self.scene.store.revision
        start = self.random.choice([0, self.random.randint(1, revision + 3), revision - 5])
        # A compaction at the start revision itself may have removed that revision's events.
        if start == self.scene.store.compact_revision:
            start += 1
        request = rpc.WatchCreateRequest(
            # Few interests, so that watchers often share one.
            key=self.random.choice([b"a", b"b"]),
            range_end=self.random.choice([b"", b"c", b"\0"]),
            start_revision=start,
            prev_kv=self.random.random() < 0.5,
            progress_notify=True,
            filters=self.random.choice([(), (), (), (NOPUT,), (NODELETE,)]),
        )
        watched = self.watched[number]
        watched[len(watched)] = Watched(request, start or revision + 1)
        self.clients[number].stream.create(request)

    def ask_progress(self) -> None:
        self.random.choice(self.clients).stream.progress()

    def read(self, number: int | None = None) -> None:
        if number is None:
            number = self.random.randrange(len(self.clients))
        client = self.clients[number]
        self.receive(number, client.take())
        client.stream.drained()

    def work(self) -> None:
        """Run a few timers; a slice of catching up ends after so many looks at the clock."""
        self.scene.loop.tick = unsynced.SLICE_SECONDS / self.random.choice([1, 3, 1000])
        for _ in range(self.random.randint(1, 4)):
            self.scene.loop.step()

    # What must hold

    def receive(self, number: int, responses: list[rpc.WatchResponse]) -> None:
        for response in responses:
            at = response.header.revision
            if response.compact_revision:
                one = self.watched[number][response.watch_id]
                assert one.compacted_at == 0 and at == 0
                one.compacted_at = response.compact_revision
                next_revision = max(one.first, one.last_response + 1)
                assert next_revision < response.compact_revision
                continue
            assert at >= self.last_header[number]
            self.last_header[number] = at
            if response.watch_id == -1:
                for one in self.watched[number].values():
                    if one.created and not one.compacted_at:
                        self.check(one, at + 1)
                continue
            one = self.watched[number][response.watch_id]
            assert one.created is not response.created and not one.compacted_at
            one.created = True
            if response.events:
                one.events += response.events
                one.last_response = response.events[-1].kv.mod_revision
                assert one.last_response <= at
                self.check(one, one.last_response + 1)
            elif not response.created:
                self.check(one, at + 1)

    def check(self, one: Watched, below: int) -> None:
        """It was sent exactly what it wants of the revisions below this one."""
        expected = [
            event
            for event in self.log
            if one.first <= event.mod_revision < below and one.wants(event)
        ]
        if one.compacted_at:
            expected = expected[: len(one.events)]
        assert [self.essence(event) for event in one.events] == [
            (event.type, event.kv) for event in expected
        ]
        for sent, event in zip(one.events, expected, strict=True):
            if not one.request.prev_kv:
                assert not sent.HasField("prev_kv")
            elif sent.HasField("prev_kv"):
                assert sent.prev_kv.SerializeToString() == event.prev
            else:
                # Left out only where there was none, or where it is compacted away.
                compacted = event.mod_revision - 1 < self.scene.store.compact_revision
                assert event.prev is None or compacted

    @staticmethod
    def essence(event: kv_pb2.Event) -> tuple[int, bytes]:
        return event.type, event.kv.SerializeToString()


@given(
    seed=st.integers(0, 2**32),
    long=st.sampled_from([1, 2, history.LONG_REVISION_EVENTS]),
    many=st.sampled_from([0, 2, groups.MANY_MATCHES]),
    sent=st.sampled_from([1, 2, unsynced.SENT]),
)
def test_every_watcher_sees_exactly_its_part_of_history(
    seed: int, long: int, many: int, sent: int
) -> None:
    """`long`: events from which on a revision is told in slices; `many`: the same for pairs of an
    event and a range; `sent`: messages of a slice.
    """
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LONG_REVISION_EVENTS", long)
        patch.setattr(groups, "LONG_REVISION_EVENTS", long)
        patch.setattr(groups, "MANY_MATCHES", many)
        patch.setattr(unsynced, "SENT", sent)
        patch.setattr(unsynced, "MATCHED", sent)
        room = WatchRoom(Path(directory) / "db", seed)
        room.run(steps=150)
        room.settle()
