"""Events in, changes in words out."""

from __future__ import annotations

import pytest

from rusd.diagnostics.explain.changes import difference, summary
from rusd.diagnostics.explain.history import Event, History, explained
from rusd.diagnostics.text import of_bytes


def put(revision: int, value: bytes, version: int, lease: int = 0) -> Event:
    return Event(b"k", revision, value, revision - version + 1, version, lease)


def gone(revision: int) -> Event:
    return Event(b"k", revision, None)


def told(*events: Event, leases_gone: frozenset[int] = frozenset(), limit: int = 0) -> list[str]:
    history = History(limit, 3)
    for event in events:
        history.add(event)
    return [explained(each, set(leases_gone)).text for each in history.changes()]


def test_a_life_of_a_key() -> None:
    assert told(put(2, b"a", 1), put(3, b"a", 2), put(4, b"abc", 3), gone(5), put(9, b"", 1)) == [
        "created, 1 byte",
        "put, value unchanged, 1 byte",
        "put, value changed, 1 → 3 bytes",
        "deleted by a request",
        "created again, 0 bytes",
    ]


def test_a_deletion_by_a_lease_that_is_gone_is_inferred() -> None:
    events = (put(2, b"a", 1, lease=0x2A), gone(3))
    assert told(*events, leases_gone=frozenset([0x2A]))[1] == (
        "deleted, by the end of lease 2a (expired or revoked; it is gone)"
    )
    assert told(*events)[1] == "deleted by a request (its lease 2a still exists)"


def test_a_lease_that_changes_is_told() -> None:
    found = told(put(2, b"a", 1, lease=1), put(3, b"a", 2, lease=2), put(4, b"a", 3))
    assert found[1].endswith("attached to lease 2 (before: 1)")
    assert found[2].endswith("no longer attached to lease 2")


def test_a_first_event_that_is_not_the_first_version_says_that_the_rest_is_compacted() -> None:
    assert "the value before is compacted" in told(put(7, b"a", 4))[0]


@pytest.mark.parametrize(("limit", "kept"), [(2, [9, 10]), (0, list(range(2, 11)))])
def test_only_the_last_changes_are_kept_and_all_are_counted(limit: int, kept: list[int]) -> None:
    history = History(limit, 0)
    for number in range(1, 10):
        history.add(put(number + 1, b"a", number))
    assert [each.revision for each in history.changes()] == kept
    assert history.count == 9


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (b"a", b"a", []),
        (None, b"new", ["new"]),
        (b"one\ntwo", b"one\n2", ["- two", "+ 2"]),
        (b'{"a":1,"b":2}', b'{"b":2,"a":3}', ['-  "a": 1,', '+  "a": 3,']),
        (b"\xff\x00a", b"\xff\x00b", ["binary; the first difference is at byte 2"]),
        (b"a\n" * 5, b"b\n" * 5, ["- a", "- a", "- a", "… 7 more lines"]),
        (b"x" * 70_000, b"x" * 69_999 + b"y", ["long; the first difference is at byte 69,999"]),
        (
            b"x" * 200 + b"1 end",
            b"x" * 200 + b"2 end",
            [f"- …{'x' * 50}1 end", f"+ …{'x' * 50}2 end"],
        ),
        (b"a", b"\x1b[2J", ["binary; the first difference is at byte 0"]),
    ],
)
def test_a_difference_is_short(before: bytes | None, after: bytes, lines: list[str]) -> None:
    assert difference(before, after, 3) == lines


def test_many_lines_are_not_compared() -> None:
    (line,) = difference(b"a\n" * 2000, b"b\n" * 2000, 3)
    assert "first difference is at byte 0" in line


def test_a_summary_has_sizes() -> None:
    assert summary(b"a", b"b") == "value changed, 1 byte as before"
    assert summary(b"a" * 1000, b"b") == "value changed, 1,000 → 1 byte"


def test_keys_cannot_steer_the_terminal() -> None:
    assert of_bytes(b"a\x1b]0;x\x07\xff") == "a\\x1b]0;x\\x07\\xff"
