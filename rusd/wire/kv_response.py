"""Responses of etcd's KV service, joined from encoded KeyValues.

A response has no header here (its fields begin at number 2); the answering member puts it in front.
`response_op` adds the short header of a response inside a txn. Default values are omitted as proto3
requires, so the bytes equal those of the protobuf library. Field numbers: etcd's rpc.proto.
"""

from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from typing import Protocol

from rusd.base.chunks import Chunks, Encoded, chunked, concatenated, size_of
from rusd.base.sliced import SLICE_BYTES, UNIT_BYTES, Meter, fitting
from rusd.wire.keyvalue import varint

#: Rows in one piece of a long response.
PART = 1000
_GONE = [b""] * PART
#: `count` of a range that found one key.
_ONE = b"\x20\x01"


class RangeResult(Protocol):
    """Result of a range (`rusd.mvcc.range_query.RangeResult`)."""

    #: Each KeyValue as field 2 of a message, in the order asked for.
    framed: list[bytes]
    #: True if `limit` cut the result.
    more: bool
    #: Keys in the interval before filters and limit.
    count: int


def int_field(number: int, value: int) -> bytes:
    """An integer or bool field; empty for zero."""
    return varint(number << 3) + varint(value) if value else b""


def _length(number: int, encoded: Encoded) -> bytes:
    """Tag and length of the field whose value is `encoded`."""
    return varint(number << 3 | 2) + varint(size_of(encoded))


def message_field(number: int, encoded: bytes) -> bytes:
    """A sub-message or bytes field, present even if empty."""
    return b"%c%b%b" % (number << 3 | 2, varint(len(encoded)), encoded)


def _repeated(number: int, encoded: Sequence[bytes]) -> bytes:
    tag = varint(number << 3 | 2)
    parts: list[bytes] = []
    for one in encoded:
        parts += (tag, varint(len(one)), one)
    return b"".join(parts)


def of_one_key(framed: bytes) -> bytes:
    """`range_response` of the one key that was asked for."""
    return framed + _ONE


def range_response(result: RangeResult, header: bytes = b"") -> bytes:
    """RangeResponse: kvs=2, more=3, count=4, behind `header`, in one copy of the rows."""
    if result.count == 1 and result.framed:
        return header + of_one_key(result.framed[0])
    return b"".join((header, *pieces(result)))


def pieces(result: RangeResult) -> tuple[bytes, ...]:
    """`range_response` in pieces that are not joined."""
    # The store frames KeyValues as field 2, so nothing is encoded again.
    return (*result.framed, int_field(3, result.more) + int_field(4, result.count))


def range_parts(result: RangeResult) -> Generator[None, None, list[bytes]]:
    """`range_response` in pieces, made in slices. Removes the rows from `result`."""
    rows, parts, start = result.framed, [], 0
    while part := rows[start : start + PART]:
        del part[fitting(part) :]
        parts.append(b"".join(part))
        # Freeing a million rows in one slice would take as long as reading them.
        rows[start : start + len(part)] = _GONE[: len(part)]
        start += len(part)
        yield
    parts.append(int_field(3, result.more) + int_field(4, result.count))
    return parts


def range_slices(result: RangeResult, meter: Meter) -> Generator[None, None, Encoded]:
    """`range_response`, made in slices. Removes the rows from a long `result`."""
    rows = result.framed
    size = sum(map(len, rows)) if len(rows) <= PART else 0
    if meter.passed(1 + len(rows) + result.count // 8 + size // UNIT_BYTES):
        yield
    if len(rows) <= PART and size <= SLICE_BYTES:
        return range_response(result)
    return chunked((yield from range_parts(result)))


def put_response(previous: bytes | None) -> bytes:
    """PutResponse: prev_kv=2."""
    return b"" if previous is None else message_field(2, previous)


def previous(kvs: Sequence[bytes]) -> bytes:
    """prev_kvs=3 of a DeleteRangeResponse."""
    return _repeated(3, kvs)


def delete_response(deleted: int, previous: bytes) -> bytes:
    """DeleteRangeResponse: deleted=2, and `previous` as encoded."""
    return int_field(2, deleted) + previous


def long_delete_response(deleted: int, previous: Iterable[bytes]) -> Encoded:
    """`delete_response` of several pieces of `previous`."""
    return concatenated(int_field(2, deleted), Chunks(previous))


def txn_response(succeeded: bool, responses: Sequence[Encoded]) -> Encoded:
    """TxnResponse: succeeded=2, responses=3 (each an encoded ResponseOp)."""
    head = b"\x10\x01" if succeeded else b""
    if len(responses) == 1 and isinstance(one := responses[0], bytes) and len(one) <= SLICE_BYTES:
        return head + message_field(3, one)
    short = [one for one in responses if not isinstance(one, Chunks)]
    if len(short) == len(responses) and sum(map(len, short)) <= SLICE_BYTES:
        return head + _repeated(3, short)
    fields = ((_length(3, one), one) for one in responses)
    return concatenated(head, *chain.from_iterable(fields))


def response_op(number: int, revision: int | None, body: Encoded) -> Encoded:
    """ResponseOp with a response whose header holds `revision` alone.

    `number`: 1 range, 2 put, 3 delete_range, 4 txn. `revision` None: an empty header, as that of a
    nested txn.
    """
    field = message_field(1, b"\x18" + varint(revision) if revision else b"")
    if not isinstance(body, Chunks):
        return message_field(number, field + body)
    whole = concatenated(field, body)
    return concatenated(_length(number, whole), whole)


def lease_grant_response(lease_id: int, ttl: int) -> bytes:
    """LeaseGrantResponse: ID=2, TTL=3."""
    return int_field(2, lease_id) + int_field(3, ttl)


def alarm_response(alarms: Sequence[bytes]) -> bytes:
    """AlarmResponse: alarms=2 (each an encoded AlarmMember)."""
    return _repeated(2, alarms)
