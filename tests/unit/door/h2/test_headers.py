"""Header blocks: the cache, and the cost, compared with the hpack library's decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hpack import Decoder as PlainDecoder
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.door.h2 import PREFACE, Limits
from rusd.door.h2 import frames as wire
from rusd.door.h2.hpack_decoder import Decoder
from tests.unit.door.h2.peer import Served
from tests.unit.door.h2.work import lines_run

LIST_BYTES = 64 << 10

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), ("token", "alice")]
FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/range"),
    (":path", "/delete-range"),
    ("token", "alice"),
    ("token", "mallory"),
    ("long", "x" * 1500),
    # Fields that make a request malformed, at any place in its block.
    ("connection", "close"),
    ("Upper", "x"),
    (":status", "200"),
    ("te", "gzip"),
]


def literal(first: int, value: bytes, name: bytes = b"") -> bytes:
    """A literal field; `first` says whether it enters the table, and its name's index if any."""
    named = bytes([len(name)]) + name if name else b""
    return bytes([first]) + named + bytes([len(value)]) + value


POST = b"\x83\x86"  # POST and http, by the static table
RAW = [
    b"\xbe",
    b"\xbf",
    literal(0x44, b"/range"),
    literal(0x44, b"/delete-range"),
    literal(0x40, b"alice", b"token"),
    literal(0x40, b"mallory", b"token"),
    literal(0x00, b"close", b"connection"),
]
GOOD_NAMES = {b":method", b":scheme", b":path", b"token", b"long"}


def well_formed(fields: list[tuple[bytes, bytes]]) -> bool:
    """Return whether fields of `FIELDS` are a request, by other means than the code's."""
    names = [name for name, _ in fields]
    pseudo = [name for name in names if name.startswith(b":")]
    return (
        set(names) <= GOOD_NAMES
        and names[: len(pseudo)] == pseudo
        and sorted(pseudo) == [b":method", b":path", b":scheme"]
    )


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Draw what a client sends: fields to encode, a new table size, or an earlier block again."""
    request = st.lists(st.sampled_from(FIELDS), max_size=6) | st.builds(
        lambda path, rest: [*REQUEST[:2], path, *rest],
        st.sampled_from(FIELDS[2:4]),
        st.lists(st.sampled_from(FIELDS[4:]), max_size=3),
    )
    # Fields as bytes: references to what entered the table last, and what enters it.
    raw = st.lists(st.sampled_from(RAW), max_size=4).map(lambda some: POST + b"".join(some))
    step = st.one_of(
        st.tuples(st.just("raw"), raw),
        st.tuples(st.just("new"), request),
        st.tuples(st.just("cut"), request),
        st.tuples(st.just("unindexed"), request),
        st.tuples(st.just("again"), st.integers(0, 40)),
        st.tuples(st.just("size"), st.sampled_from([0, 100, 2000, 4096])),
    )
    return draw(st.lists(step, max_size=40))


class Client:
    """Makes the blocks of a conversation."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.sent: list[bytes] = []

    def block(self, what: str, value: Any) -> bytes | None:
        if what == "size":
            self.encoder.header_table_size = value
            return None
        if what == "again":
            return self.sent[value % len(self.sent)] if self.sent else None
        if what == "raw":
            self.sent.append(value)
            return bytes(value)
        kind = NeverIndexedHeaderTuple if what == "unindexed" else HeaderTuple
        encoded = bytes(self.encoder.encode([kind(*one) for one in value]))
        if what == "cut":
            encoded = encoded[: len(encoded) // 2]
        self.sent.append(encoded)
        return encoded


@settings(max_examples=400)
@given(conversations())
def test_every_request_is_what_a_plain_decoder_reads(steps: list[tuple[str, Any]]) -> None:
    served, plain, client = Served(), PlainDecoder(LIST_BYTES), Client()
    served.connection.receive(PREFACE + wire.frame(wire.SETTINGS, 0, 0), 0.0)
    stream = -1
    for step in steps:
        encoded = client.block(*step)
        if not encoded:
            continue
        stream += 2
        opened = len(served.receivers)
        served.connection.receive(wire.frame(wire.HEADERS, 5, stream, encoded), 0.0)
        try:
            fields = [
                (bytes(name), bytes(value)) for name, value in plain.decode(encoded, raw=True)
            ]
        except HPACKError:
            assert served.connection.closed
            return
        assert not served.connection.closed
        if not well_formed(fields):
            assert len(served.receivers) == opened
            continue
        request = served.receivers[opened].request
        pseudo = {b":method": request.method, b":scheme": request.scheme, b":path": request.path}
        read = sorted(pseudo.items()) + [(n.encode(), v) for n, v in request.fields]
        expected = sorted(one for one in fields if one[0][:1] == b":")
        expected += [one for one in fields if one[0][:1] != b":"]
        assert read == [(name, value.decode()) for name, value in expected]


def test_a_malformed_request_that_changes_the_table_ends_what_was_remembered() -> None:
    """A proxy's connection: a later caller's request must not run as an earlier caller's."""
    alice = POST + literal(0x44, b"/delete-range") + literal(0x40, b"alice", b"token")
    repeated = POST + b"\xbf\xbe"  # the path and the token that entered the table last
    malformed = (
        POST + literal(0x44, b"/range") + literal(0x40, b"mallory", b"token")
        + literal(0x00, b"close", b"connection")
    )  # fmt: skip
    served = Served()
    served.connection.receive(PREFACE + wire.frame(wire.SETTINGS, 0, 0), 0.0)
    for stream, encoded in zip((1, 3, 5, 7), (alice, repeated, malformed, repeated), strict=True):
        served.connection.receive(wire.frame(wire.HEADERS, 5, stream, encoded), 0.0)
    seen = [(one.request.path, dict(one.request.fields)["token"]) for one in served.receivers]
    assert seen == [("/delete-range", "alice"), ("/delete-range", "alice"), ("/range", "mallory")]


@given(st.binary(max_size=60))
def test_any_block_is_read_as_the_plain_decoder_reads_it(encoded: bytes) -> None:
    def read(decode: Callable[[bytes], Any]) -> Any:
        try:
            return [tuple(map(bytes, one)) for one in decode(encoded)]
        except (HPACKError, IndexError):
            return None

    ours = read(Decoder(LIST_BYTES).decode)
    theirs = read(lambda block: PlainDecoder(LIST_BYTES).decode(block, raw=True))
    # (The library takes any number of size updates; two are allowed.)
    assert ours == theirs or (ours is None and encoded[:1] >= b"\x20")


NAME = b"\x00\x01a"
BLOCKS = {
    "references to the static table": b"\x82" * 1400,
    "small literals": (NAME + b"\x01b") * 1000,
    "small literals that enter the table": (b"\x40\x01a\x01b") * 1000,
    "small literals before a long one": (
        (NAME + b"\x00") * 900 + NAME + b"\x7f\xb1\xe9\x01" + b"x" * 30_000
    ),
    "huffman": NAME + b"\xff\x81\x9c\x01" + b"\x1f" * 20_000,
    "size updates": b"\x3f\xe1\x1f" * 5000,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_costs_no_more_than_its_length(name: str) -> None:
    encoded = BLOCKS[name]

    def read() -> None:
        try:
            Decoder(LIST_BYTES).decode(encoded)
        except HPACKError:
            return

    assert lines_run(read) <= 40 * len(encoded) + 200


def fed(decoder: Decoder, encoded: bytes, cuts: list[int]) -> list[tuple[bytes, bytes]]:
    """Decode a block whose frames end at `cuts`."""
    ends = sorted({cut for cut in cuts if cut < len(encoded)})
    for start, end in zip([0, *ends], ends, strict=False):
        decoder.feed(encoded[start:end])
    return decoder.decode(encoded[ends[-1] if ends else 0 :])


@given(
    encoded=st.lists(st.sampled_from(RAW) | st.binary(max_size=8)).map(b"".join)
    | st.builds(
        lambda fields, huffman: Encoder().encode(fields, huffman=huffman),
        st.lists(st.tuples(st.text("az9~\n"), st.text("0Z|\0", max_size=40)), max_size=5),
        st.booleans(),
    ),
    cuts=st.lists(st.integers(0, 60), max_size=12),
)
@settings(max_examples=300)
def test_a_block_in_several_frames_is_read_as_in_one(encoded: bytes, cuts: list[int]) -> None:
    whole, pieces = Decoder(LIST_BYTES), Decoder(LIST_BYTES)
    for _ in range(2):  # the second time with a table
        try:
            expected = whole.decode(encoded)
        except (HPACKError, IndexError, ValueError):
            with pytest.raises((HPACKError, IndexError, ValueError)):
                fed(pieces, encoded, cuts)
            return
        assert fed(pieces, encoded, cuts) == expected
        assert (pieces.list_size, pieces.changes) == (whole.list_size, whole.changes)


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("frame", [100, 16 << 10])
def test_each_frame_of_a_long_field_costs_no_more_than_its_length(
    frame: int, huffman: bool
) -> None:
    encoded = Encoder().encode([("name" * 5_000, "a token" * 9_000)], huffman=huffman)
    decoder = Decoder(Limits().header_list)
    costs = [
        lines_run(partial(decoder.feed, encoded[start : start + frame]))
        for start in range(0, len(encoded) - frame, frame)
    ]
    assert max(costs) < 100 + 12 * frame
    if not huffman:
        assert sum(costs) < 100 * len(costs)
