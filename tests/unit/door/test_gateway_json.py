"""JSON of the gateway: read and written by protojson's rules, in bounded pieces."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from rusd.base.chunks import Chunks, Encoded
from rusd.door.gateway import json_pieces
from rusd.door.gateway.json_deep import MAX_DEEP, MAX_DEPTH, parse_deep
from rusd.door.gateway.json_pieces import PIECE
from rusd.door.gateway.json_reader import MAX_NESTED, SEARCHED, MessageReader
from rusd.door.gateway.json_syntax import MAX_VALUES, JsonError, ValueSplitter
from rusd.door.gateway.json_types import ByType
from rusd.door.gateway.json_writer import MessageWriter, escaped
from rusd.proto import kv_pb2 as kv
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import LEVELS, levels

writers = ByType(lambda kind: MessageWriter(GetMessageClass(kind).FromString))
range_request, txn_request, put_request = (
    ByType(MessageReader).of(kind.DESCRIPTOR)
    for kind in (rpc.RangeRequest, rpc.TxnRequest, rpc.PutRequest)
)

int64 = st.integers(-(2**63), 2**63 - 1)
values = st.builds(
    kv.KeyValue, key=st.binary(), value=st.binary(), lease=int64, mod_revision=int64, version=int64
)
ranges = st.builds(
    rpc.RangeRequest,
    key=st.binary(),
    range_end=st.binary(),
    limit=int64,
    sort_order=st.sampled_from((0, 1, 2)),
    serializable=st.booleans(),
)
operations = st.one_of(
    st.builds(rpc.RequestOp, request_range=ranges),
    st.builds(rpc.RequestOp, request_put=st.builds(rpc.PutRequest, key=st.binary(), lease=int64)),
)
txns = st.builds(
    rpc.TxnRequest,
    compare=st.lists(
        st.builds(rpc.Compare, key=st.binary(), target=st.sampled_from((0, 1, 2)), version=int64)
    ),
    success=st.lists(operations),
    failure=st.lists(operations),
)
responses = st.builds(
    rpc.RangeResponse,
    header=st.builds(rpc.ResponseHeader, cluster_id=st.integers(0, 2**64 - 1)),
    kvs=st.lists(values),
    more=st.booleans(),
    count=int64,
)
single_responses = st.one_of(
    st.builds(rpc.ResponseOp, response_range=responses),
    st.builds(rpc.ResponseOp, response_put=st.builds(rpc.PutResponse, prev_kv=values)),
)


def txn_response(inner: st.SearchStrategy[rpc.ResponseOp]) -> st.SearchStrategy[rpc.TxnResponse]:
    return st.builds(rpc.TxnResponse, succeeded=st.booleans(), responses=st.lists(inner))


txn_responses = txn_response(
    st.recursive(
        single_responses,
        lambda inner: st.builds(rpc.ResponseOp, response_txn=txn_response(inner)),
    )
)
members = st.builds(
    rpc.MemberListResponse,
    members=st.lists(
        st.builds(rpc.Member, name=st.text(), peerURLs=st.lists(st.text()), isLearner=st.booleans())
    ),
)


def written(message: Message) -> str:
    return writers.of(message.DESCRIPTOR).text(message)  # type: ignore[arg-type]


@given(st.one_of(responses, members, txns))
def test_what_is_written_is_the_json_of_protobuf(message: Message) -> None:
    text = written(message)
    expected = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert json.loads(text) == expected
    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


@given(txns, st.booleans())
def test_what_protobuf_writes_is_read(message: rpc.TxnRequest, proto_names: bool) -> None:
    text = json_format.MessageToJson(message, preserving_proto_field_name=proto_names)
    assert txn_request.read(text.encode()) == message


@st.composite
def chunks(draw: st.DrawFn, encoded: bytes) -> Encoded:
    """The same message, or the same in chunks."""
    cuts = sorted(draw(st.lists(st.integers(0, len(encoded)), max_size=4)))
    parts = [encoded[start:end] for start, end in pairwise([0, *cuts, len(encoded)])]
    return draw(st.sampled_from((encoded, Chunks(parts))))


@given(st.data(), st.one_of(responses, members, txns, txn_responses), st.integers(4, 64))
def test_pieces_are_the_whole(data: st.DataObject, message: Message, piece: int) -> None:
    encoded = data.draw(chunks(message.SerializeToString()))
    writer = writers.of(message.DESCRIPTOR)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "PIECE", piece)
        patch.setattr(json_pieces, "ELEMENTS", piece // 4)
        patch.setattr(json_pieces, "_VALUE", piece // 4 * 3)
        parts = list(json_pieces.pieces(writer, encoded))
    assert b"".join(parts).decode() == written(message)


def test_a_long_answer_is_written_in_pieces_of_bounded_size() -> None:
    answer = rpc.RangeResponse(kvs=[kv.KeyValue(key=b"k" * 30, value=b"v" * 100)] * 5000)
    writer = writers.of(answer.DESCRIPTOR)  # type: ignore[arg-type]
    pieces = list(json_pieces.pieces(writer, answer.SerializeToString()))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 2 * PIECE


def test_a_long_message_that_ends_too_early_is_no_answer() -> None:
    answer = rpc.RangeResponse(kvs=[kv.KeyValue(value=b"v" * PIECE)] * 2).SerializeToString()
    writer = writers.of(rpc.RangeResponse.DESCRIPTOR)  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        list(json_pieces.pieces(writer, Chunks([answer[:-PIECE], b"v"])))


def test_a_stream_line_is_safe_in_html_as_go_makes_it() -> None:
    assert escaped('"<a>&\u2028"'.encode()) == b'"\\u003ca\\u003e\\u0026\\u2028"'


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    for around in (text, b'{"key":' + text + b"}", b'{"key":"' + text + b'"}'):
        try:
            range_request.read(around)
        except JsonError as error:
            assert str(error)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(
            st.lists(inner),
            st.dictionaries(st.sampled_from(("success", "compare", "requestPut", "key")), inner),
        ),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        txn_request.read(json.dumps(value).encode())
    except JsonError as error:
        assert str(error)


def nested(depth: int) -> bytes:
    return b'{"success":[{"request_txn":' * depth + b"{}" + b"}]}" * depth


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, r"^invalid character '\[' exceeded max depth$"),
        (b'{"a":' * 100_000, r"^invalid character '{' exceeded max depth$"),
        (b'{"unknown":' + b"[" * 100_000, r"^invalid character '\[' exceeded max depth$"),
        (b"[" * 5_000, "^unexpected EOF$"),
        (b"[" * 5_000 + b"}", "^invalid character '}' looking for beginning of value$"),
        (b'{"success":' * 5_000 + b"[}", "^invalid character '}' looking for beginning of value$"),
        (b"[" * 1_000 + b"1," * MAX_DEEP + b"1" + b"]" * 1_000, "^too many values$"),
    ],
)
def test_deep_nesting_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        txn_request.read(text)


@pytest.mark.parametrize("depth", [100, 1_000, MAX_DEPTH - 1])
def test_what_is_skipped_may_be_as_deep_as_in_go(depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        skipped = opening * depth + b"1" + closing * depth
        read = range_request.read(b'{"unknown":%b,"key":"YQ=="}' % skipped)
        assert read == rpc.RangeRequest(key=b"a")


def test_a_mistake_behind_deep_nesting_is_found() -> None:
    deep = b"[" * 4_000 + b"]" * 4_000
    assert len(deep) < SEARCHED
    with pytest.raises(JsonError, match=r"\(line 2:7\): invalid value for bytes field key: 1"):
        range_request.read(b'{"a":%b,\n"key":1}' % deep)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner)),
)


@given(anything, st.sampled_from((None, 0, "\t")), st.data())
def test_texts_are_read_without_recursion_as_with_it(
    value: Any, indent: int | str | None, data: st.DataObject
) -> None:
    """The same values, and the same mistakes at the same places."""
    text = json.dumps(value, indent=indent)
    cut = data.draw(st.integers(0, len(text)))
    instead = data.draw(st.sampled_from(("", "", ",", "]", "}", '"', ":", "x", "1")))
    text = text[:cut] + instead + text[cut + data.draw(st.integers(0, 2)) :]
    decoder = json.JSONDecoder(object_pairs_hook=tuple)

    def outcome(read: Callable[[], tuple[Any, int]]) -> tuple[Any, ...]:
        try:
            return read()
        except json.JSONDecodeError as error:
            return error.msg, error.pos

    begin = len(text) - len(text.lstrip())
    expected = outcome(lambda: decoder.raw_decode(text, begin))
    assert outcome(lambda: parse_deep(text, begin, decoder)) == expected


def test_a_txn_of_too_many_levels_is_read_for_the_check_that_refuses_it() -> None:
    assert MAX_NESTED == 2 * LEVELS + 1
    for deep in (LEVELS, LEVELS + 50):
        assert levels(txn_request.read(nested(deep))) == LEVELS + 1


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,", b'{"a":1},'])
def test_a_text_of_very_many_values_is_not_parsed(value: bytes) -> None:
    body = b'{"success":[' + value * MAX_VALUES + b"{}]}"
    with pytest.raises(JsonError, match=r"^too many values$"):
        txn_request.read(body)
    assert range_request.read(b'{"unknown":"' + b"x" * len(body) + b'"}') == rpc.RangeRequest()


def test_nesting_that_protobuf_allows_is_read() -> None:
    message = txn_request.read(nested(40))
    assert rpc.TxnRequest.FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("digits", [21, 5000, 1_000_000])
def test_long_numbers_are_refused_in_known_fields_and_skipped_in_others(digits: int) -> None:
    number = b"9" * digits
    assert range_request.read(b'{"unknown":' + number + b"}") == rpc.RangeRequest()
    for text in (number, b'"' + number + b'"', b"1e" + number, b"1" + number + b".0"):
        with pytest.raises(JsonError, match="invalid value for int64 field limit"):
            range_request.read(b'{"limit":' + text + b"}")


def test_a_mistake_behind_much_text_is_not_looked_for() -> None:
    padding = b'{"unknown":"' + b" " * SEARCHED + b'","limit":true}'
    with pytest.raises(JsonError, match=r"^proto: invalid value for int64 field limit"):
        range_request.read(padding)


def test_names_that_stand_twice_are_refused_also_in_two_spellings() -> None:
    for text in (
        b'{"key":"","key":""}',
        b'{"prev_kv":true,"prevKv":true}',
        b'{"key":null,"key":""}',
    ):
        with pytest.raises(JsonError, match="duplicate field"):
            put_request.read(text)


@given(st.lists(st.dictionaries(st.text(), st.one_of(st.text(), st.lists(st.text())))), st.data())
def test_a_stream_of_objects_is_cut_into_them_wherever_its_chunks_end(
    objects: list[dict[str, Any]], data: st.DataObject
) -> None:
    stream = data.draw(st.sampled_from((b"", b"\n", b" \t"))).join(
        json.dumps(each, ensure_ascii=data.draw(st.booleans())).encode() for each in objects
    )
    splitter = ValueSplitter(1 << 20)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += [json.loads(text) for text in splitter.feed(stream[:size])]
        stream = stream[size:]
    assert found == objects


def test_an_object_in_single_bytes_costs_no_more_than_its_length() -> None:
    looked = 0

    class Counted(ValueSplitter):
        def _advance(self) -> bool:
            nonlocal looked
            before = self._seen
            ended = super()._advance()
            looked += max(self._seen - before, 0)
            return ended

    text = b'{"key":"' + bytes(random.Random(1).choices(b"abc\\\\{}[]", k=20_000)) + b'x"}'
    splitter = Counted(1 << 20)
    for at in range(len(text)):
        list(splitter.feed(text[at : at + 1]))
    assert looked <= 2 * len(text)


@pytest.mark.parametrize("text", [b"[1]", b"7", b"nonsense", b'"a"', b"{" * 5000])
def test_a_stream_of_something_else_or_of_too_much_ends(text: bytes) -> None:
    with pytest.raises(JsonError):
        list(ValueSplitter(4000).feed(text))
