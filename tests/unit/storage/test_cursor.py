"""A cursor over a family: pieces of rows, bounded in number and in bytes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.storage import Batch, Engine, Family
from rusd.storage.cursor import PIECE_BYTES, STEP


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    one = Engine.open(tmp_path / "db")
    yield one
    one.close()


def key(n: int) -> bytes:
    return b"%06d" % n


def fill(engine: Engine, count: int, value: bytes = b"v") -> None:
    batch = Batch()
    for n in range(count):
        batch.put(Family.KEY, key(n), value)
    engine.write(batch)


def test_pieces_join_to_the_whole_interval(engine: Engine) -> None:
    fill(engine, 5 * STEP)
    for count in (1, STEP - 1, STEP, 3 * STEP, 1000):
        cursor = engine.cursor(Family.KEY, key(3), key(4 * STEP))
        found: list[bytes] = []
        while piece := cursor.keys(count):
            assert len(piece) <= count
            found += piece
        assert found == [key(n) for n in range(3, 4 * STEP)]
        assert cursor.keys(count) == []


def test_keys_values_pairs_and_skips_move_one_position(engine: Engine) -> None:
    batch = Batch()
    for n in range(8):
        batch.put(Family.KEY, key(n), b"value %d" % n)
    engine.write(batch)
    cursor = engine.cursor(Family.KEY, key(0), None)
    assert cursor.keys(2) == [key(0), key(1)]
    assert cursor.values(1) == [b"value 2"]
    assert cursor.keys(2) == [key(3), key(4)]
    assert cursor.pairs(1) == [(key(5), b"value 5")]
    assert len(cursor.keys(100)) == 2
    assert (cursor.keys(1), cursor.values(1), cursor.pairs(1)) == ([], [], [])


def test_places_in_ascending_order_are_read_without_reading_past_them(engine: Engine) -> None:
    fill(engine, 100)
    cursor = engine.cursor(Family.KEY, b"", None)

    def between(start: int, end: int, count: int = 10) -> list[bytes]:
        return [found for found, _ in cursor.between(key(start), key(end), count)]

    assert between(3, 5) == [key(3), key(4)]
    assert between(5, 5) == []
    assert between(5, 7) == [key(5), key(6)]
    assert between(40, 90, 3) == [key(40), key(41), key(42)]
    assert between(43, 45) == [key(43), key(44)]
    assert cursor.keys(2) == [key(45), key(46)], "where it was left"
    assert between(60, 61) == [key(60)]
    assert between(98, 200) == [key(98), key(99)]
    assert between(99, 200) == [key(99)], "behind the end it seeks again"
    assert between(200, 300) == []


def test_a_piece_of_large_values_is_short(engine: Engine) -> None:
    size = PIECE_BYTES // 2
    fill(engine, 20, bytes(size))
    cursor = engine.cursor(Family.KEY, b"", None)
    found = 0
    while piece := cursor.values(1000):
        # What is read between two looks at the size comes on top of the limit.
        assert len(piece) <= 8
        found += len(piece)
    assert found == 20


def test_large_values_behind_small_ones_make_pieces_short_again(engine: Engine) -> None:
    fill(engine, 10 * STEP)
    batch = Batch()
    for n in range(3 * STEP):
        batch.put(Family.KEY, b"large %06d" % n, bytes(PIECE_BYTES // 8))
    engine.write(batch)
    cursor = engine.cursor(Family.KEY, b"", None)
    assert len(cursor.values(10 * STEP)) == 10 * STEP
    sizes = []
    while piece := cursor.values(1000):
        sizes.append(len(piece))
    assert sum(sizes) == 3 * STEP
    assert max(sizes) <= STEP
    assert max(sizes[1:]) <= 16


def test_a_cursor_sees_what_was_there_when_it_was_made(engine: Engine) -> None:
    fill(engine, 4)
    cursor = engine.cursor(Family.KEY, b"", None)
    batch = Batch()
    batch.delete(Family.KEY, key(1))
    batch.put(Family.KEY, key(2), b"changed")
    batch.put(Family.KEY, key(9), b"new")
    engine.write(batch)
    engine.compact()
    assert cursor.pairs(10) == [(key(n), b"v") for n in range(4)]


def test_the_end_holds_although_no_other_reference_keeps_its_bytes(engine: Engine) -> None:
    """RocksDB is handed a pointer to them."""
    fill(engine, 1000)
    cursors = [engine.cursor(Family.KEY, b"", b"%06d" % n) for n in range(1, 200)]
    gc.collect()
    filler = [b"%06d" % (n + 700) for n in range(10_000)]
    assert [len(cursor.keys(1000)) for cursor in cursors] == list(range(1, 200))
    assert len(filler) == 10_000


def test_an_empty_or_crossed_interval_has_no_rows(engine: Engine) -> None:
    fill(engine, 10)
    for start, end in ((key(5), key(5)), (key(7), key(3)), (key(5), b""), (b"z", None)):
        assert engine.cursor(Family.KEY, start, end).keys(10) == []
        assert engine.last_before(Family.KEY, start, end) is None


def test_a_cursor_can_be_placed_anew(engine: Engine) -> None:
    fill(engine, 10)
    cursor = engine.cursor(Family.KEY, b"", None)
    assert cursor.at_or_before(key(4)) == (key(4), b"v")
    assert cursor.at_or_before(key(4) + b"x") == (key(4), b"v")
    assert cursor.at_or_before(b"!") is None
    cursor.seek(key(8))
    assert cursor.keys(10) == [key(8), key(9)]
    cursor.seek_to_last()
    assert cursor.keys(3) == [key(9), key(8), key(7)]
