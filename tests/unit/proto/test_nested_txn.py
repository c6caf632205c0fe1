"""Txns nested deeper than the protobuf library reads are read as its messages."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from rusd.proto import nested_txn
from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import FIELDS, LEVELS, levels, txn_request, txn_response
from tests.support.nested_txns import field, nested


def built(deep: int) -> rpc.TxnRequest:
    """A txn with so many levels within, and operations at each."""
    outermost = txn = rpc.TxnRequest()
    for level in range(deep):
        txn.compare.add(key=b"%d" % level, version=level)
        txn.success.add().request_put.key = b"before"
        txn.failure.add().request_range.key = b"else"
        inner = (txn.failure if level % 3 else txn.success).add().request_txn
        txn.success.add().request_delete_range.key = b"after"
        txn = inner
    txn.success.add().request_put.key = b"innermost"
    return outermost


@pytest.mark.parametrize("deep", [1, 48, 49, 50, 90, LEVELS - 1])
def test_nested_txns_are_read_to_the_last_level(deep: int) -> None:
    txn = built(deep)
    read = txn_request(txn.SerializeToString())
    assert read == txn
    assert levels(read) == deep + 1


@pytest.mark.parametrize("deep", [LEVELS, LEVELS + 1, 1000, 4998])
def test_what_has_too_many_levels_is_read_as_one_level_too_many(deep: int) -> None:
    assert levels(txn_request(nested(deep))) == LEVELS + 1


def test_deeper_messages_than_etcd_reads_are_refused_with_its_text() -> None:
    with pytest.raises(DecodeError, match=r"^proto: exceeded maximum recursion depth$"):
        txn_request(nested(5000))


@pytest.mark.parametrize("deep", [10, 49, 60, LEVELS - 1])
def test_responses_of_nested_txns_are_read_to_the_last_level(deep: int) -> None:
    outermost = response = rpc.TxnResponse(succeeded=True)
    for level in range(deep):
        response.responses.add().response_put.header.revision = level
        response = response.responses.add().response_txn
        response.succeeded = bool(level % 2)
    assert txn_response(outermost.SerializeToString()) == outermost


def test_reading_many_operations_at_many_levels_is_bounded() -> None:
    many = nested(60, field(2, b"") * FIELDS)
    with pytest.raises(DecodeError):
        txn_request(many)


@given(st.binary(max_size=30), st.integers(0, 200))
def test_what_is_malformed_at_any_depth_is_refused_or_read(inside: bytes, cut: int) -> None:
    encoded = nested(60, inside)
    read: Any
    try:
        read = txn_request(encoded[: len(encoded) - cut] if cut < 20 else encoded)
    except DecodeError:
        return
    assert levels(read) >= 50


def test_a_small_depth_is_read_by_the_library_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested_txn, "_decode", None)
    assert txn_request(nested(40)) == rpc.TxnRequest.FromString(nested(40))
