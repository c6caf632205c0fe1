"""The decoder of peer frames: values in their bounds, or one refusal; O(n) for n bytes."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.raft.transport import frames
from rusd.raft.transport.frames import (
    MAX_ENTRIES,
    MAX_TERM,
    OPENING,
    OWN,
    RAFT,
    AppendEntries,
    Frame,
    Refused,
    limit,
    pack,
)
from tests.support.frames import fields_of
from tests.support.memory import traced

encode = msgspec.msgpack.encode
Fields = dict[str, Any]

#: One of each kind, as members send them.
VALID: list[Fields] = [
    {"type": "hello", "protocol": "rusd-peer/1", "cluster": 2**64 - 1, "member": 1},
    {"type": "hello", "protocol": "p", "cluster": 1, "member": 1, "nonce": bytes(16)},
    {"type": "members", "protocol": "rusd-peer/1"},
    {"type": "membership", "cluster": 1, "members": {7: ["http://a:1"]}}
    | {"learners": [7], "removed": [8]},
    {"type": "confirm", "protocol": "p", "cluster": 1, "member": 1, "nonce": bytes(16)},
    {"type": "confirmed"},
    {"type": "refused", "reason": "cluster ID mismatch"},
    {"type": "append_entries", "term": 1, "commit_index": 0},
    {"type": "append_entries", "term": 1, "commit_index": 7, "prevLogIdx": 7, "prevLogTerm": 1}
    | {"entries": [(b"\x00abc", 8, 1), (b"\x01", 9, 1)]},
    {"type": "append_entries", "term": 1, "commit_index": 7, "prevLogIdx": 7, "prevLogTerm": 1}
    | {"entries": [], "attempt": 2},
    {"type": "next_node_idx", "term": 1, "next_node_idx": 2, "reset": True, "success": False},
    {"type": "next_node_idx", "term": 1, "next_node_idx": 2, "reset": True, "success": False}
    | {"attempt": 2},
    {"type": "request_vote", "term": 2, "last_log_index": 1, "last_log_term": 0},
    {"type": "request_vote", "term": 2, "last_log_index": 1, "last_log_term": 0, "transfer": True},
    {"type": "response_vote", "term": 2},
    {"type": "timeout_now", "term": 2},
    {"type": "prevote", "term": 2, "last_index": 1, "last_term": 1},
    {"type": "prevote_reply", "term": 2, "asked": 2, "granted": True},
    {"type": "term", "term": MAX_TERM},
    {"type": "propose", "term": 2, "batch": [(1, 2**64 - 1, b"x")]},
    {"type": "read", "term": 2, "number": 1},
    {"type": "read_reply", "term": 2, "number": 1},
    {"type": "read_index", "id": 2**63},
    {"type": "read_index_reply", "id": 1, "index": 3},
    {"type": "ask", "id": 1, "kind": "renew", "body": b"1"},
    {"type": "answer", "id": 1, "body": b"", "error": [5, "not found"]},
    {"type": "answer", "id": 1, "body": b"x", "error": []},
    {"type": "want_snapshot", "term": 1},
    {"type": "removed"},
    {"type": "snapshot", "stream": 1, "op": "begin", "index": 5, "files": {"000012.sst": 9}},
    {"type": "snapshot", "stream": 1, "op": "chunk", "file": "a", "offset": 0, "data": b"x"}
    | {"crc": 2**32 - 1},
    {"type": "snapshot", "stream": 1, "op": "end"},
    {"type": "snapshot_reply", "stream": 1, "received": -1},
]


def tag(kind: type[Frame]) -> str:
    return str(kind.__struct_config__.tag)


OPENING_TYPES = set(map(tag, OPENING))


def decode(body: bytes) -> Frame:
    """From a member, or else from a stranger."""
    try:
        return frames.decode(body, member=True)
    except Refused:
        return frames.decode(body, member=False)


def by_kind(frame: Fields) -> str:
    return str(frame)[:50]


def outcome(call: Callable[[], object]) -> object:
    """Return the call's result, or Refused if it refused; other errors are raised."""
    try:
        return call()
    except Refused:
        return Refused


@pytest.mark.parametrize("frame", VALID, ids=by_kind)
def test_what_members_send_comes_out_as_it_went_in(frame: Fields) -> None:
    body = encode(frame)
    member = frame["type"] not in OPENING_TYPES
    assert fields_of(decode(body)) == msgspec.msgpack.decode(body)
    assert len(body) <= limit(body, member=member)


@pytest.mark.parametrize("frame", VALID, ids=by_kind)
def test_before_a_connection_is_a_members_and_after_other_frames_come(frame: Fields) -> None:
    if frame["type"] == "refused":
        return  # may come at any time
    member = frame["type"] in OPENING_TYPES
    assert outcome(lambda: frames.decode(encode(frame), member=member)) is Refused
    assert outcome(lambda: limit(encode(frame), member=member)) is Refused


def test_every_kind_is_shown() -> None:
    assert {frame["type"] for frame in VALID} == set(map(tag, (*OPENING, *RAFT, *OWN)))


@pytest.mark.parametrize("frame", VALID, ids=by_kind)
def test_fields_of_a_later_release_are_passed_over(frame: Fields) -> None:
    assert decode(encode(frame | {"later": [{}, [1]]})) == decode(encode(frame))


@pytest.mark.parametrize("frame", VALID, ids=by_kind)
@pytest.mark.parametrize("wrong", [None, -5, 2**64 - 1, 1.5, "", b"", [], [[]], {}, [{}], True])
def test_a_field_of_another_type_or_beyond_its_bounds_is_refused(frame: Fields, wrong: Any) -> None:
    for field in frame:
        good = outcome(lambda field=field: decode(encode(frame | {field: wrong})))  # type: ignore[misc]
        if good is not Refused:
            assert type(wrong) is type(frame[field]), field
            assert (
                not isinstance(wrong, int)
                or wrong not in (-5, 2**64 - 1)
                or field
                in (*("id", "stream", "number", "cluster", "member", "offset", "crc", "received"),)
            )


def test_the_type_is_the_first_key_and_the_only_one() -> None:
    term = {"term": 1}
    assert outcome(lambda: decode(encode({**term, "type": "term"}))) is Refused
    twice = b"\x83\xa4type\xa4term\xa4term\x01\xa4type\xacappend_entrie"
    assert outcome(lambda: decode(twice)) is Refused


def test_text_that_is_none_is_refused() -> None:
    for frame in VALID:
        body = encode(frame)
        for at in range(len(body)):
            outcome(lambda body=body, at=at: decode(body[:at] + b"\xff" + body[at + 1 :]))  # type: ignore[misc]


BOMBS = {
    "entries of empty lists": (b"\xa7entries", b"\x90"),
    "entries of nothing": (b"\xa7entries", b"\xc0"),
    "a batch of empty lists": (b"\xa5batch", b"\x90"),
    "an unknown field of empty lists": (b"\xa5other", b"\x90"),
    "an unknown field of empty maps": (b"\xa5other", b"\x80"),
    "a list that holds a list that holds a list": (b"\xa5other", b"\x91"),
    "an error of empty texts": (b"\xa5error", b"\xa0"),
}


@pytest.mark.parametrize("kind", [b"append_entries", b"propose", b"answer", b"nonsense"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_twelve_megabytes_of_nothing_cost_no_memory_and_no_time(bomb: str, kind: bytes) -> None:
    field, item = BOMBS[bomb]
    count = 12 << 20
    head = b"\x82\xa4type" + bytes([0xA0 | len(kind)]) + kind + field
    body = head + b"\xdd" + count.to_bytes(4, "big") + item * count
    began = time.thread_time()
    with traced() as peak:
        assert outcome(lambda: decode(body)) is Refused
        assert peak() < 64 << 10
    assert time.thread_time() - began < 1


def test_the_most_entries_that_a_frame_may_hold_are_bounded_too() -> None:
    head = {"type": "append_entries", "term": 9, "commit_index": 0}
    place = {"prevLogIdx": 1, "prevLogTerm": 1}
    most = encode({**head, **place, "entries": [(b"\x01", 1, 1)] * MAX_ENTRIES})
    with traced() as peak:
        append = decode(most)
        assert peak() < 48 << 20
    assert isinstance(append, AppendEntries)
    assert len(append.entries or ()) == MAX_ENTRIES
    more = encode({**head, **place, "entries": [(b"\x01", 1, 1)] * (MAX_ENTRIES + 1)})
    assert outcome(lambda: decode(more)) is Refused


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
    | st.sampled_from(sorted({frame["type"] for frame in VALID}))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 2**64 - 1), inner, max_size=8)
    ),
    max_leaves=60,
)
FIELDS = sorted({field for frame in VALID for field in frame})


@st.composite
def near_misses(draw: st.DrawFn) -> bytes:
    """A frame with some fields replaced, and perhaps some of its bytes."""
    frame = dict(draw(st.sampled_from(VALID)))
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        frame[field] = draw(VALUES)
    body = bytearray(encode(frame))
    for _ in range(draw(st.integers(0, 3))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


@given(near_misses() | st.binary(max_size=400) | VALUES.map(encode))
@settings(max_examples=1000, deadline=None)
def test_whatever_comes_is_a_frame_or_refused_and_costs_its_bytes(body: bytes) -> None:
    outcome(lambda: decode(body))  # what is made once (names of fields) is no cost of the bytes
    with traced() as peak:
        found = outcome(lambda: decode(body))
        most = peak()
    for member in (True, False):
        outcome(lambda member=member: limit(body, member=member))  # type: ignore[misc]
    assert most < 60 * len(body) + 4096
    if isinstance(found, Frame):
        # What was taken can be written, and is then the same.
        assert decode(pack(found)[4:]) == found
        assert all(getattr(found, field, 0) <= MAX_TERM for field in ("term", "asked"))
