"""The room's promise as a property: whatever happens, a watcher sees its part of history.

Random writes, compactions and snapshots; watchers that join at random revisions on streams whose
clients read at random moments and which take only so many messages. What each watcher received
must be the events it asked for from its start on: a gapless beginning of them while things happen,
and all of them in the end, or up to a cancel that names a compaction above what it saw.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from rusd.mvcc.keyvalue import Event
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.watch import catchup
from tests.unit.watch.scene import Client, Scene

KEYS = st.sampled_from([b"a", b"ab", b"b", b"c"])
#: Few interests, so that watchers often share one.
WATCHED_KEYS = st.sampled_from([b"a", b"b"])
RANGE_ENDS = st.sampled_from([b"", b"c", b"\0"])
NOPUT = rpc.WatchCreateRequest.NOPUT
NODELETE = rpc.WatchCreateRequest.NODELETE


@dataclass
class Watched:
    """What one watcher asked for and what it was sent."""

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


class WatchRoom(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.scene = Scene(Path(self._directory.name) / "db", progress_interval=1.0)
        #: All that ever happened, in order.
        self.log: list[Event] = []
        self.clients: list[Client] = []
        self.watched: list[dict[int, Watched]] = []
        self.last_header: list[int] = []
        for _ in range(12):
            self.write([b"a"], [], True)

    def teardown(self) -> None:
        self.scene.loop.tick = 0.0
        for _ in range(3):
            for number in range(len(self.clients)):
                self.receive(number, self.clients[number].read())
        revision = self.scene.store.revision
        for watched in self.watched:
            for one in watched.values():
                self.check(one, one.compacted_at or revision + 1)
        assert self.scene.hub.slow_watchers == 0
        self.scene.engine.close()
        self._directory.cleanup()

    # What happens

    @rule(
        puts=st.lists(KEYS, max_size=3, unique=True),
        deletes=st.lists(KEYS, max_size=2),
        publish=st.booleans() | st.just(True),
    )
    def write(self, puts: list[bytes], deletes: list[bytes], publish: bool) -> None:
        writer = self.scene.store.begin()
        txn = writer.txn()
        for key in deletes:
            if key not in puts:
                txn.delete(key)
        for key in puts:
            txn.put(key, b"v%d" % len(self.log), 0)
        txn.end()
        writer.commit()
        for _, events in writer.events:
            self.log += events
        if publish:
            self.scene.hub.publish(writer.events)
        else:
            self.scene.hub.restored()

    @precondition(lambda self: self.scene.store.revision > 1)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        lowest = max(self.scene.store.compact_revision + 1, 1)
        if lowest <= self.scene.store.revision:
            revision = data.draw(st.integers(lowest, self.scene.store.revision))
            self.scene.compact(revision)
            for _ in self.scene.store.compact_slices():
                pass

    @precondition(lambda self: len(self.clients) < 4)
    @rule(room=st.none() | st.integers(1, 4))
    def connect(self, room: int | None) -> None:
        self.clients.append(self.scene.client(room))
        self.watched.append({})
        self.last_header.append(0)

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        key=WATCHED_KEYS,
        range_end=RANGE_ENDS,
        prev_kv=st.booleans(),
        filters=st.sampled_from([(), (), (), (NOPUT,), (NODELETE,)]),
    )
    def watch(
        self,
        data: st.DataObject,
        key: bytes,
        range_end: bytes,
        prev_kv: bool,
        filters: tuple[int, ...],
    ) -> None:
        number = data.draw(st.integers(0, len(self.clients) - 1))
        revision = self.scene.store.revision
        request = rpc.WatchCreateRequest(
            key=key,
            range_end=range_end,
            start_revision=data.draw(st.integers(0, revision + 3)),
            prev_kv=prev_kv,
            progress_notify=True,
            filters=filters,
        )
        # A compaction at the start revision itself may have removed that revision's events.
        first = request.start_revision or revision + 1
        if first == self.scene.store.compact_revision:
            request.start_revision = first = first + 1
        self.watched[number][len(self.watched[number])] = Watched(request, first)
        self.clients[number].stream.create(request)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def ask_progress(self, data: st.DataObject) -> None:
        self.clients[data.draw(st.integers(0, len(self.clients) - 1))].stream.progress()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.clients) - 1))
        client = self.clients[number]
        self.receive(number, client.take())
        client.stream.drained()

    @rule(steps=st.integers(1, 4), looks=st.sampled_from([1, 3, 1000]))
    def work(self, steps: int, looks: int) -> None:
        """Run a few timers; a slice of catching up ends after so many looks at the clock."""
        self.scene.loop.tick = catchup.SLICE_SECONDS / looks
        for _ in range(steps):
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


TestWatchRoom = WatchRoom.TestCase
