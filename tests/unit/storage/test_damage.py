"""A table file with flipped bits: every way of reading it says so, none ends early instead."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rusd.storage import Batch, Engine, Family, StorageError

ROWS = 20_000


def key(n: int) -> bytes:
    return b"%06d" % n


@pytest.fixture(params=[False, True], ids=["opened", "opened read-only"])
def damaged(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Rows in one table file, of which a block in the middle is damaged."""
    directory = tmp_path / "db"
    engine = Engine.open(directory)
    values = random.Random(1)
    batch = Batch()
    for n in range(ROWS):
        batch.put(Family.CURRENT, key(n), values.randbytes(200))
    engine.write(batch)
    engine.compact()
    engine.close()
    table = max(directory.glob("*.sst"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    table.write_bytes(data)
    engine = Engine.open(directory, read_only=request.param)
    yield engine
    engine.close()


def forwards(engine: Engine) -> None:
    list(engine.scan(Family.CURRENT, b"", None))


def whole(engine: Engine) -> None:
    list(engine.whole(Family.CURRENT))


def backwards(engine: Engine) -> None:
    list(engine.scan(Family.CURRENT, b"", None, reverse=True))


def keys(engine: Engine) -> None:
    list(engine.scan_keys(Family.CURRENT, b"", None))


def values(engine: Engine) -> None:
    cursor = engine.cursor(Family.CURRENT, b"", key(ROWS))
    while cursor.values(100):
        pass


def counting(engine: Engine) -> None:
    cursor = engine.cursor(Family.CURRENT, b"", key(ROWS))
    while cursor.keys(100):
        pass


def one_by_one(engine: Engine) -> None:
    for n in range(ROWS):
        assert engine.get(Family.CURRENT, key(n)) is not None


def many_at_once(engine: Engine) -> None:
    engine.multi_get(Family.CURRENT, [key(n) for n in range(ROWS)])


def the_last_before(engine: Engine) -> None:
    for n in range(1, ROWS, 5):
        assert engine.last_before(Family.CURRENT, b"", key(n)) is not None


@pytest.mark.parametrize(
    "read",
    [forwards, whole, backwards, keys, values, counting, one_by_one, many_at_once, the_last_before],
    ids=lambda read: read.__name__,
)
def test_damage_is_an_error_that_names_the_directory(
    damaged: Engine, read: Callable[[Engine], None]
) -> None:
    with pytest.raises(StorageError, match=str(damaged.directory)):
        read(damaged)
