"""Lease: rusd answers as etcd does; remaining seconds are compared with a second's tolerance."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.client import Refused
from tests.support.pair import Example, Pair, outcome

lease_ids = st.integers(1, 4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), lease_ids, st.sampled_from([-1, 0, 1, 600, 9_000_000_001])),
        st.tuples(st.just("revoke"), lease_ids, st.none()),
        st.tuples(st.just("attach"), lease_ids, st.sampled_from([b"a", b"b", b"c"])),
        st.tuples(st.just("detach"), lease_ids, st.sampled_from([b"a", b"b", b"c"])),
        st.tuples(st.just("delete"), lease_ids, st.sampled_from([b"a", b"b", b"c"])),
        st.tuples(st.just("keep_alive"), lease_ids, st.none()),
        st.tuples(st.just("time_to_live"), lease_ids, st.booleans()),
    ),
    min_size=1,
    max_size=12,
)


def run(example: Example, kind: str, lease: int, argument: Any) -> None:
    identity = example.leases + lease
    if kind == "grant":
        # Short leases would expire within the example: those are granted and revoked at once.
        granted = example.both("grant", argument, identity)
        if argument < 600 and not isinstance(granted, Refused):
            example.both("revoke", identity)
    elif kind == "revoke":
        example.both("revoke", identity)
    elif kind == "attach":
        example.both("put", argument, b"", lease=identity)
    elif kind == "detach":
        example.both("put", argument, b"")
    elif kind == "delete":
        example.both("delete", argument)
    elif kind == "keep_alive":
        example.both("keep_alive", identity)
    else:
        mine = outcome(example.pair.rusd, "time_to_live", (identity, argument), {})
        theirs = outcome(example.pair.etcd, "time_to_live", (identity, argument), {})
        assert not isinstance(mine, Refused) and not isinstance(theirs, Refused)
        for answer in (mine, theirs):
            answer.keys.sort()  # type: ignore[attr-defined]
        assert abs(mine.TTL - theirs.TTL) <= 2  # type: ignore[attr-defined]
        mine.TTL = theirs.TTL = 0  # type: ignore[attr-defined]
        assert mine == theirs


@given(steps)
def test_any_sequence_of_lease_calls_is_answered_as_etcd_answers_it(
    pair: Pair, steps: list[tuple[str, int, Any]]
) -> None:
    with pair.example() as example:
        try:
            for kind, lease, argument in steps:
                run(example, kind, lease, argument)
            example.both("range", b"\0", b"\0")
        finally:
            for lease in range(1, 5):
                outcome(pair.rusd, "revoke", (example.leases + lease,), {})
                outcome(pair.etcd, "revoke", (example.leases + lease,), {})


def test_an_expired_lease_takes_its_keys_with_it_in_one_revision(pair: Pair) -> None:
    with pair.example() as example:
        example.both("grant", 2, example.leases + 9)
        for key in (b"x", b"y", b"z"):
            example.both("put", key, b"1", lease=example.leases + 9)
        histories = []
        for client in (pair.rusd, pair.etcd):
            with client.watch() as stream:
                stream.create(b"x", b"zz", start_revision=example.base, prev_kv=True)
                events = []
                for _, event in stream.events():
                    events.append(event)
                    if len(events) == 6:
                        break
            histories.append([event.SerializeToString() for event in events])
        assert histories[0] == histories[1]
        example.both("range", b"x", b"zz")
