"""Encodings of the MVCC room: KeyValues, revision keys, index keys, intervals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rusd.mvcc.interval import bounds
from rusd.mvcc.revision import (
    index_key,
    index_prefix,
    parse_index_key,
    parse_revision_key,
    revision_key,
)
from rusd.proto import kv_pb2
from rusd.wire.keyvalue import Live, deletion, encode, key_of, pack, parse, unpack, value_of

numbers = st.integers(0, (1 << 63) - 1)
# Few distinct bytes, so that keys are often prefixes of one another and full of zeros.
tricky = st.lists(st.sampled_from([0, 1, 2, 254, 255]), max_size=6).map(bytes)


@given(st.binary(max_size=300), numbers, numbers, numbers, st.binary(max_size=300), st.integers())
def test_a_key_value_is_encoded_as_protobuf_encodes_it(
    key: bytes, create: int, mod: int, version: int, value: bytes, lease: int
) -> None:
    lease = (lease + (1 << 63)) % (1 << 64) - (1 << 63)
    message = kv_pb2.KeyValue(
        key=key,
        create_revision=create,
        mod_revision=mod,
        version=version,
        value=value,
        lease=lease,
    )
    kv = encode(key, create, mod, version, value, lease)
    assert kv == message.SerializeToString(deterministic=True)
    live = Live(create, mod, version, lease, kv)
    assert parse(kv) == live
    assert unpack(pack(live)) == live
    assert value_of(kv) == value
    if key:
        assert key_of(kv) == key


def test_a_deletion_carries_key_and_revision_alone() -> None:
    assert kv_pb2.KeyValue.FromString(deletion(b"k", 7)) == kv_pb2.KeyValue(
        key=b"k", mod_revision=7
    )


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers))
def test_revision_keys_sort_as_revisions(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert (revision_key(*a) < revision_key(*b)) == (a < b)
    assert parse_revision_key(revision_key(*a)) == (*a, False)
    assert parse_revision_key(revision_key(*a) + b"t") == (*a, True)
    assert len(revision_key(*a)) == 17


@given(tricky, tricky, st.tuples(numbers, numbers), st.tuples(numbers, numbers))
def test_index_keys_sort_by_user_key_then_revision(
    a: bytes, b: bytes, at: tuple[int, int], bt: tuple[int, int]
) -> None:
    one, two = index_key(index_prefix(a), *at), index_key(index_prefix(b), *bt)
    assert (one < two) == ((a, at) < (b, bt))
    assert parse_index_key(one) == (index_prefix(a), *at)


def inside(key: bytes, start: bytes, end: bytes | None) -> bool:
    return key >= start and (end is None or key < end)


def test_the_conventions_of_range_end() -> None:
    assert bounds(b"k", b"") == (b"k", b"k\0")
    assert bounds(b"k", b"\0") == (b"k", None)
    assert bounds(b"\0", b"\0") == (b"\0", None)
    assert bounds(b"k", b"m") == (b"k", b"m")
    assert not inside(b"k", *bounds(b"k", b"a"))
