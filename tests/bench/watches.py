"""Watch loads: a fan-out of events to many watchers, and what idle watchers cost."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

from rusd.proto import rpc_pb2 as rpc
from tests.bench.calls import PUT_PATH
from tests.bench.load import LoadFailed
from tests.bench.pipeline import PATIENCE, Pipeline
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn, running
from tests.bench.wire import DATA, END_STREAM, RST_STREAM, Connection, Poll

WATCH_PATH = "/etcdserverpb.Watch/Watch"

WATCHERS = 100
EVENTS = 1000
#: Fan-outs in one turn: each takes less than a second.
ROUNDS = 3
#: Puts under way at once while events are fanned out.
AT_ONCE = 100

KEY = b"watched/key"
#: In every value once and nowhere else: an event is counted by it, without decoding anything.
MARK = b"<one watch event of the load>"
EVENT = rpc.PutRequest(key=KEY, value=MARK.ljust(256, b".")).SerializeToString()


def create(key: bytes) -> bytes:
    return rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key)).SerializeToString()


@dataclass
class Counter:
    """Occurrences of MARK in the data of one stream, also across frames."""

    count: int = 0
    _tail: bytes = b""

    def take(self, payload: bytes) -> None:
        data = self._tail + payload
        self.count += data.count(MARK)
        self._tail = data[1 - len(MARK) :]


@dataclass
class Splitter:
    """Messages in the data of one stream."""

    _rest: bytes = b""

    def take(self, payload: bytes) -> list[bytes]:
        data = self._rest + payload
        found = []
        at = 0
        while len(data) - at >= 5:
            stop = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if stop > len(data):
                break
            found.append(data[at + 5 : stop])
            at = stop
        self._rest = data[at:]
        return found


@dataclass(frozen=True)
class Layout:
    """Layout of watchers: connections with one stream each, watches on each stream."""

    connections: int
    watches: int

    def __str__(self) -> str:
        streams = "1 stream" if self.connections == 1 else f"{self.connections} clients"
        return f"{streams} x {self.watches:,} watch{'es' if self.watches > 1 else ''}"


@dataclass
class Audience:
    """Open watch streams; every watch has been confirmed when `opened` returns."""

    poll: Poll
    connections: list[Connection]
    counters: dict[Connection, Counter] = field(default_factory=dict)

    @classmethod
    def opened(cls, endpoint: str, layout: Layout, writer: Connection | None = None) -> Audience:
        """`layout` watches at `endpoint`; `writer` is polled together with them."""
        connections = [Connection(endpoint) for _ in range(layout.connections)]
        poll = Poll(connections + ([writer] if writer is not None else []))
        number = itertools.count()
        for connection in connections:
            stream = connection.open(WATCH_PATH)
            for _ in range(layout.watches):
                # Idle watchers each follow a key of their own, as clients do.
                key = KEY if writer is not None else b"idle/%06d" % next(number)
                connection.message(stream, create(key))
        poll.flush()
        splitters = {connection: Splitter() for connection in connections}
        missing = layout.connections * layout.watches
        while missing:
            came = False
            for connection, frames in poll.frames(PATIENCE):
                came = True
                for kind, flags, _, payload in frames:
                    if kind == RST_STREAM or flags & END_STREAM:
                        raise LoadFailed("a watch stream was refused")
                    if kind == DATA:
                        for message in splitters[connection].take(payload):
                            response = rpc.WatchResponse.FromString(message)
                            if not response.created or response.canceled:
                                raise LoadFailed(f"a watch was refused: {response}")
                            missing -= 1
            if not came:
                raise LoadFailed(f"{missing} watches were not confirmed")
        return cls(poll, connections, {one: Counter() for one in connections})

    def close(self) -> None:
        self.poll.close()


@dataclass(frozen=True)
class FanOut:
    """Seconds from the first put to the last event, and CPU seconds used meanwhile."""

    seconds: float
    client_cpu: float
    servers_cpu: float


def fan_out(subject: Subject, role: str, layout: Layout, events: int) -> FanOut:
    """`events` puts at the leader, delivered to every watcher at `role`."""
    writer = Connection(subject.endpoint("leader"))
    audience = Audience.opened(subject.endpoint(role), layout, writer)
    try:
        pipeline = Pipeline(writer, PUT_PATH, itertools.repeat(EVENT, events), AT_ONCE)
        missing = layout.connections * layout.watches * events
        cpu, servers_cpu = time.process_time(), subject.cpu_seconds()
        started = time.monotonic()
        pipeline.fill()
        audience.poll.flush()
        while missing or not pipeline.finished:
            came = False
            for connection, frames in audience.poll.frames(PATIENCE):
                came = True
                if connection is writer:
                    pipeline.take(frames)
                    continue
                counter = audience.counters[connection]
                before = counter.count
                for kind, flags, _, payload in frames:
                    if kind == DATA:
                        counter.take(payload)
                    if kind == RST_STREAM or flags & END_STREAM:
                        raise LoadFailed("a watch stream was ended")
                missing -= counter.count - before
            if not came:
                raise LoadFailed(f"{missing} events never came")
        if missing < 0:
            raise LoadFailed(f"{-missing} events too many")
        return FanOut(
            time.monotonic() - started,
            time.process_time() - cpu,
            subject.cpu_seconds() - servers_cpu,
        )
    finally:
        audience.close()


def run_fan_out(members: int, plan: Plan, table: Table) -> None:
    """100 watchers of one key, 1,000 puts to it."""
    cases = {
        f"{EVENTS:,} events to {WATCHERS} watchers, {role}, {layout}": (role, layout)
        for role in ("leader", "follower")[: min(members, 2)]
        for layout in (Layout(WATCHERS, 1), Layout(1, WATCHERS))
    }
    rows = {title: Row(title, "events/s") for title in cases if plan.wants(members, title)}
    if not rows:
        return
    table.rows += rows.values()
    with running(members, plan) as subjects:
        for turn in plan.turns():
            for title, row in rows.items():
                role, layout = cases[title]
                for subject in in_turn(subjects, turn):
                    fan_out(subject, role, layout, 50)
                    for got in [fan_out(subject, role, layout, EVENTS) for _ in range(ROUNDS)]:
                        add(row, subject, got)
                    say(f"{members}: {title}: {subject.name}: {row.latest(subject.name)}")


def add(row: Row, subject: Subject, got: FanOut) -> None:
    delivered = WATCHERS * EVENTS
    row.add(
        subject.name,
        **{
            "events/s": delivered / got.seconds,
            "ms": got.seconds * 1000,
            "CPU s per 1,000": got.servers_cpu / delivered * 1000,
            "client's cores": got.client_cpu / got.seconds,
        },
    )


def run_idle(members: int, plan: Plan, table: Table) -> None:
    """Resident memory for each watcher that has nothing to do, in a fresh member every time."""
    cases = {
        f"{plan.watchers:,} idle watchers, {layout}": layout
        for layout in (Layout(1, plan.watchers), Layout(100, plan.watchers // 100))
    }
    for title, layout in cases.items():
        if not plan.wants(members, title):
            continue
        row = Row(title, "KiB per watcher", more_is_better=False)
        table.rows.append(row)
        for _ in plan.turns():
            with running(members, plan) as subjects:
                for subject in subjects:
                    target = subject.target("leader")
                    # Neither the start's leavings nor those of the last answers count.
                    time.sleep(1.0)
                    before = subject.memory(target).resident
                    audience = Audience.opened(subject.endpoint("leader"), layout)
                    time.sleep(1.0)
                    more = subject.memory(target).resident - before
                    audience.close()
                    row.add(subject.name, **{"KiB per watcher": more * 1024 / plan.watchers})
                    say(f"{members}: {title}: {subject.name}: {row.latest(subject.name)}")
