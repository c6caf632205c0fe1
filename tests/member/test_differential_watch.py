"""Watch: the same watches over the same writes deliver the same events as etcd's.

How events are batched into responses depends on time in etcd too, so what is compared is each
watch's sequence of events, and each response that is not an event (created, canceled).
"""

from __future__ import annotations

import contextlib
import queue
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.member.strategies import Builder, deletes, keys, puts, txns
from tests.support.client import TIMEOUT, Client, WatchStream
from tests.support.pair import Example, Pair

watches = st.fixed_dictionaries(
    {
        "key": st.one_of(keys, st.just(b"")),
        "range_end": st.sampled_from([b"", b"b", b"c", b"\xff\xff\xff"]),
    },
    optional={
        "start_revision": st.integers(0, 14),
        "prev_kv": st.booleans(),
        "filters": st.lists(st.integers(0, 1), unique=True, max_size=2),
        "fragment": st.booleans(),
        "watch_id": st.integers(0, 3),
        "progress_notify": st.booleans(),
    },
)
writes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("delete"), deletes()),
        st.tuples(st.just("txn"), txns(1)),
        st.tuples(st.just("compact"), st.integers(3, 8)),
    ),
    max_size=8,
)

#: Key outside every generated watch; a write to it marks the end of what is compared.
END = b"\xff\xff\xff\xff"
MARKER = 999


def run(example: Example, step: tuple[str, Any]) -> None:
    build = Builder(example.base, example.leases)
    kind, fields = step
    if kind == "txn":
        example.both("txn", build.txn(fields))
    elif kind == "compact":
        example.both("compact", build.revision(fields), physical=True)
    elif kind == "put":
        example.both("put", **{**fields, "lease": 0})
    else:
        example.both("delete", **fields)


class Observed:
    """Responses of one server's stream, in a comparable form."""

    def __init__(self, client: Client, requests: list[dict[str, Any]]) -> None:
        self.stream: WatchStream = client.watch()
        self.said: dict[int, list[Any]] = {}
        self._created = 0
        self._marked = 0
        for wanted, request in enumerate([*requests, {"key": END, "watch_id": MARKER}], 1):
            # One at a time: automatic ids depend on the order of creation.
            self.stream.create(**request)
            while self._created < wanted:
                self.take(TIMEOUT)

    def take(self, timeout: float) -> None:
        """Receive one more response. Raises queue.Empty if none comes in time."""
        response = self.stream.receive(timeout)
        self._created += response.created
        if response.watch_id == MARKER:
            self._marked += len(response.events)
            return
        mine = self.said.setdefault(response.watch_id, [])
        if response.created or response.canceled:
            about = (response.created, response.canceled)
            mine.append((*about, response.compact_revision, response.cancel_reason))
        mine.extend(event.SerializeToString(deterministic=True) for event in response.events)

    def until_marked(self, times: int) -> None:
        """Read on until the marker key was seen written so often."""
        while self._marked < times:
            self.take(TIMEOUT)


def assert_same(example: Example, mine: Observed, theirs: Observed) -> None:
    """Both streams come to say the same, and then say no more.

    Watches that catch up may lag behind the marker's live watch, so the first comparison waits for
    whichever side is behind; a second marker then shows that nothing was delivered twice.
    """
    for observed in (mine, theirs):
        observed.until_marked(1)
    deadline = time.monotonic() + TIMEOUT
    while mine.said != theirs.said and time.monotonic() < deadline:
        for observed in (mine, theirs):
            with contextlib.suppress(queue.Empty):
                observed.take(0.05)
    assert mine.said == theirs.said
    example.both("put", END, b"again")
    for observed in (mine, theirs):
        observed.until_marked(2)
    assert mine.said == theirs.said


@given(before=writes, requests=st.lists(watches, min_size=1, max_size=3), after=writes)
def test_any_watches_over_any_writes_deliver_what_etcd_delivers(
    pair: Pair,
    before: list[tuple[str, Any]],
    requests: list[dict[str, Any]],
    after: list[tuple[str, Any]],
) -> None:
    with pair.example() as example:
        for step in before:
            run(example, step)
        build = Builder(example.base, 0)
        made = [build.absolute(request) for request in requests]
        mine, theirs = Observed(pair.rusd, made), Observed(pair.etcd, made)
        for step in after:
            if step[0] != "compact":  # whether a lagging watch is overtaken depends on time
                run(example, step)
        example.both("put", END, b"")
        assert_same(example, mine, theirs)
        mine.stream.close()
        theirs.stream.close()
