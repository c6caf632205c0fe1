"""KV: rusd answers as etcd does, field by field and error by error."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.member.strategies import Builder, deletes, puts, ranges, revisions, txns
from tests.support.client import Refused
from tests.support.pair import Example, Pair, oracle_version, require_newer_oracle

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("range"), ranges()),
        st.tuples(st.just("range"), ranges()),
        st.tuples(st.just("delete"), deletes()),
        st.tuples(st.just("txn"), txns()),
        st.tuples(st.just("grant"), st.integers(1, 3)),
        st.tuples(st.just("revoke"), st.integers(1, 4)),
        st.tuples(st.just("compact"), st.integers(0, 14)),
    ),
    min_size=1,
    max_size=14,
)


def run(example: Example, step: tuple[str, Any]) -> None:
    build = Builder(example.base, example.leases)
    kind, fields = step
    if kind in ("put", "range", "delete"):
        example.both(kind, **build.absolute(fields))
    elif kind == "txn":
        example.both("txn", build.txn(fields))
    elif kind == "grant":
        example.both("grant", 1000, build.lease(fields))
    elif kind == "revoke":
        example.both("revoke", build.lease(fields))
    else:
        example.both("compact", build.revision(fields), physical=True)


@given(steps)
def test_any_sequence_of_kv_calls_is_answered_as_etcd_answers_it(
    pair: Pair, steps: list[tuple[str, Any]]
) -> None:
    with pair.example() as example:
        for step in steps:
            run(example, step)
        example.both("range", b"\0", b"\0")


@given(st.lists(st.tuples(st.just("txn"), txns()), min_size=1, max_size=6))
def test_any_transaction_is_answered_as_etcd_answers_it(
    pair: Pair, steps: list[tuple[str, Any]]
) -> None:
    with pair.example() as example:
        for lease in (1, 2):
            example.both("grant", 1000, example.leases + lease)
        for key in (b"a", b"ab", b"b", b"c"):
            example.both("put", key, key)
        for step in steps:
            run(example, step)
        example.both("range", b"\0", b"\0")


@given(
    st.lists(st.one_of(st.tuples(st.just("put"), puts()), st.tuples(st.just("delete"), deletes()))),
    st.integers(1, 14),
    st.lists(revisions, min_size=1),
)
def test_history_reads_the_same_after_a_compaction(
    pair: Pair, writes: list[tuple[str, Any]], at: int, reads: list[int | None]
) -> None:
    with pair.example() as example:
        for step in writes:
            run(example, step)
        run(example, ("compact", at))
        for read in reads:
            revision = Builder(example.base, 0).revision(read or 0)
            example.both("range", b"\0", b"\0", revision=revision)
            example.both("range", b"a", b"", revision=revision)


def test_a_transaction_may_hold_128_operations_and_no_more(pair: Pair) -> None:
    build = Builder(0, 0)
    with pair.example() as example:
        for count in (128, 129):
            operations = [("put", {"key": b"k%d" % n, "value": b""}) for n in range(count)]
            answer = example.both(
                "txn", build.txn({"compare": [], "success": operations, "failure": []})
            )
            assert isinstance(answer, Refused) == (count == 129)


def test_hash_kv_equals_etcds_for_the_same_writes(pair: Pair) -> None:
    pair.stop()  # etcd 3.5 hashes differently once it compacted: a fresh pair
    with pair.example() as example:
        for n in range(50):
            example.both("put", b"key%d" % (n % 7), b"v%d" % n)
        example.both("delete", b"key3")
        mine = pair.rusd.hash_kv()
        theirs = pair.etcd.hash_kv()
        assert (mine.hash, mine.compact_revision) == (theirs.hash, theirs.compact_revision)
        assert mine.header.revision == theirs.header.revision


@pytest.mark.parametrize("revision", [-1, -(2**63)])
def test_the_hash_of_a_negative_revision_is_that_of_nothing(pair: Pair, revision: int) -> None:
    """Only beside etcd 3.6 and later: 3.5 takes a negative revision for the newest."""
    with pair.example() as example:
        example.both("put", b"k", b"v")
        if oracle_version() >= (3, 6):
            example.both("hash_kv", revision)
        mine = pair.rusd.hash_kv(revision)
        example.both("put", b"k", b"w")
        again = pair.rusd.hash_kv(revision)
        assert mine.hash == again.hash, "of nothing, whatever is stored"


def test_hash_kv_at_every_revision_around_compactions_is_etcds(pair: Pair) -> None:
    """At the compact revision it is the hash that the compaction took, with the compact revision
    before that one: -1 for the first.
    """
    require_newer_oracle()
    with pair.example() as example:
        for number in range(9):
            example.both("put", b"key%d" % (number % 3), b"v%d" % number)
        base = example.base

        def compare() -> None:
            for revision in (0, *range(base, base + 12)):
                example.both("hash_kv", revision)

        compare()
        before = pair.rusd.hash_kv().compact_revision
        for compacted, told in ((base + 4, before), (base + 5, base + 4), (base + 8, base + 5)):
            example.both("compact", compacted, physical=True)
            compare()
            assert pair.rusd.hash_kv(compacted).compact_revision == told
            assert pair.rusd.hash_kv(compacted + 1).compact_revision == compacted
        pair.restart()
        compare()


hash_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("delete"), deletes()),
        st.tuples(st.just("compact"), st.integers(0, 14)),
        st.tuples(st.just("hash"), st.integers(0, 14)),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    min_size=4,
    max_size=20,
)


@settings(max_examples=20)
@given(hash_steps)
def test_any_hash_kv_after_any_compactions_is_etcds(
    pair: Pair, steps: list[tuple[str, Any]]
) -> None:
    """etcd before 3.5.15 hashes otherwise once it compacted."""
    require_newer_oracle()
    with pair.example() as example:
        build = Builder(example.base, example.leases)
        compactions = []
        for kind, fields in steps:
            if kind in ("put", "delete"):
                run(example, (kind, {**fields, "prev_kv": False}))
            elif kind == "compact":
                run(example, (kind, fields))
                compactions.append(build.revision(fields))
            elif kind == "hash":
                example.both("hash_kv", build.revision(fields))
            elif fields:
                pair.restart()
                compactions.clear()
        for revision in (0, *compactions):
            example.both("hash_kv", revision)


@given(
    st.lists(st.sampled_from([b"a", b"ab", b"b", b"c", b"d"]), min_size=2, max_size=8),
    st.integers(1, 4),
    st.integers(1, 5),
    st.booleans(),
)
def test_a_limit_without_an_order_is_a_limit_in_key_order(
    pair: Pair, written: list[bytes], target: int, limit: int, keys_only: bool
) -> None:
    with pair.example() as example:
        for number, key in enumerate(written):
            example.both("put", key, b"%d" % (9 - number))
        # Versions are not distinct, and etcd's sort is not stable in general.
        example.both("range", b"a", b"z", sort_target=target, limit=limit, keys_only=keys_only)
