"""RocksDB behind the storage room's interface."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.storage import Batch, Engine, Family, StorageError, StorageLocked


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    one = Engine.open(tmp_path / "db")
    yield one
    one.close()


def fill(engine: Engine, *keys: bytes, family: Family = Family.KEY) -> None:
    batch = Batch()
    for key in keys:
        batch.put(family, key, b"value of " + key)
    engine.write(batch)


def test_a_batch_spans_families_and_its_last_write_of_a_key_wins(engine: Engine) -> None:
    batch = Batch()
    batch.put(Family.KEY, b"k", b"1")
    batch.put(Family.META, b"k", b"meta")
    batch.put(Family.KEY, b"k", b"2")
    batch.put(Family.KEY, b"gone", b"1")
    batch.delete(Family.KEY, b"gone")
    engine.write(batch)
    assert engine.get(Family.KEY, b"k") == b"2"
    assert engine.get(Family.META, b"k") == b"meta"
    assert engine.get(Family.KEY, b"gone") is None


def test_a_large_batch_is_written_with_its_large_values_last(engine: Engine) -> None:
    batch = Batch()
    batch.large = True
    batch.put(Family.KEY, b"k", bytes(1 << 20))
    batch.put(Family.META, b"k", b"meta")
    batch.delete(Family.KEY, b"gone")
    assert [key for _, key, _ in batch.in_order_of_size()] == [b"gone", b"k", b"k"]
    assert batch.in_order_of_size()[-1] == batch.operations[0]
    engine.write(batch)
    assert engine.get(Family.KEY, b"k") == bytes(1 << 20)
    assert engine.get(Family.META, b"k") == b"meta"


def test_the_last_write_of_a_key_wins_in_a_large_batch(engine: Engine) -> None:
    fill(engine, b"a", b"b")
    batch = Batch()
    batch.large = True
    batch.put(Family.KEY, b"k", bytes(1 << 20))
    batch.put(Family.KEY, b"k", b"2")
    engine.write(batch)
    assert engine.get(Family.KEY, b"k") == b"2"
    batch.clear()
    assert not batch.large
    batch.large = True
    batch.put(Family.KEY, b"b", bytes(1 << 20))
    batch.delete_interval(Family.KEY, b"a", b"c")
    engine.write(batch)
    assert engine.get(Family.KEY, b"b") is None


def test_loaded_rows_replace_and_delete_what_was_written_and_loaded(
    engine: Engine, tmp_path: Path
) -> None:
    fill(engine, b"a", b"b", b"c")
    engine.load(Family.KEY, [(b"b", b"new"), (b"c", None), (b"d", b"")])
    engine.load(Family.KEY, [(b"a", b"newer"), (b"d", b"newer")])
    engine.load(Family.KEY, [])
    rows = [(b"a", b"newer"), (b"b", b"new"), (b"d", b"newer")]
    assert list(engine.scan(Family.KEY, b"", None)) == rows
    assert list(engine.scan(Family.INDEX, b"", None)) == []
    with pytest.raises(StorageError, match="ascending"):
        engine.load(Family.KEY, [(b"b", b""), (b"a", b"")])
    with pytest.raises(ZeroDivisionError):
        engine.load(Family.KEY, ((b"a", bytes(1 // n)) for n in (1, 0)))
    assert not (engine.directory / "loading").exists()
    # (Without a log and a memtable, so before any flush.)
    engine.checkpoint(tmp_path / "copy")
    again = Engine.open(tmp_path / "copy")
    assert list(again.scan(Family.KEY, b"", None)) == rows
    again.close()


def test_multi_get_keeps_the_order_and_says_what_is_missing(engine: Engine) -> None:
    fill(engine, b"a", b"c")
    assert engine.multi_get(Family.KEY, [b"c", b"b", b"a"]) == [b"value of c", None, b"value of a"]
    assert engine.multi_get(Family.KEY, []) == []


def test_a_scan_takes_the_start_and_leaves_the_end(engine: Engine) -> None:
    fill(engine, b"a", b"b", b"b\0", b"c", b"\xff\xff")
    assert [k for k, _ in engine.scan(Family.KEY, b"b", b"c")] == [b"b", b"b\0"]
    assert [k for k, _ in engine.scan(Family.KEY, b"c", None)] == [b"c", b"\xff\xff"]
    assert list(engine.scan_keys(Family.KEY, b"aa", b"c")) == [b"b", b"b\0"]
    assert list(engine.scan(Family.KEY, b"c", b"b")) == []
    assert list(engine.scan(Family.META, b"", None)) == []


def test_a_reverse_scan_gives_the_same_keys_backwards(engine: Engine) -> None:
    fill(engine, b"a", b"b", b"c", b"d")
    assert [k for k, _ in engine.scan(Family.KEY, b"b", b"d", reverse=True)] == [b"c", b"b"]
    assert [k for k, _ in engine.scan(Family.KEY, b"c", None, reverse=True)] == [b"d", b"c"]
    assert engine.last_before(Family.KEY, b"a", b"c") == (b"b", b"value of b")
    assert engine.last_before(Family.KEY, b"x", None) is None


@pytest.mark.parametrize("rows", [0, 1, 16, 100])
def test_a_whole_family_is_read(engine: Engine, rows: int) -> None:
    keys = [b"%03d" % number for number in range(rows)]
    fill(engine, *keys)
    fill(engine, b"other", family=Family.META)
    assert list(engine.whole(Family.KEY)) == [(key, b"value of " + key) for key in keys]


def test_large_rows_of_a_whole_family_are_read_one_at_a_time(engine: Engine) -> None:
    batch = Batch()
    for number in range(100):
        batch.put(Family.KEY, b"%03d" % number, bytes(64 << 10 if 40 <= number < 90 else 1))
    engine.write(batch)
    together = [len(part) for part in engine._rows(Family.KEY, b"", None)]
    assert together == [32, 32, *[1] * 27, 9]


def test_the_extent_of_a_family_is_known_before_it_is_read(engine: Engine, tmp_path: Path) -> None:
    def extent() -> tuple[int, int]:
        """Of a copy, all of which is in tables."""
        directory = tmp_path / "copy"
        engine.checkpoint(directory)
        copy = Engine.open(directory, read_only=True)
        try:
            return copy.extent(Family.KEY)
        finally:
            copy.close()
            shutil.rmtree(directory)

    def counted() -> tuple[int, int]:
        rows = list(engine.whole(Family.KEY))
        return len(rows), sum(len(key) + len(value) for key, value in rows)

    assert engine.extent(Family.KEY) == extent() == (0, 0)
    fill(engine, b"1", b"22", b"333")
    assert engine.extent(Family.KEY) == extent() == counted() == (3, 6 + 6 + 3 * 9)
    fill(engine, b"22", b"4")
    # One is twice in tables.
    assert extent() == (5, counted()[1] + 4 + 9)
    batch = Batch()
    batch.delete(Family.KEY, b"333")
    engine.write(batch)
    assert engine.extent(Family.KEY) == extent() == counted() == (3, 4 + 4 + 3 * 9)


def test_a_scan_sees_the_database_as_it_was_when_it_was_made(engine: Engine) -> None:
    fill(engine, b"a", b"b")
    pairs, keys = engine.scan(Family.KEY, b"", None), engine.scan_keys(Family.KEY, b"", b"z")
    fill(engine, b"c")
    assert [k for k, _ in pairs] == [b"a", b"b"]
    assert list(keys) == [b"a", b"b"]


def test_the_size_is_never_zero_and_grows(engine: Engine) -> None:
    before = engine.size()
    assert before > 0
    for n in range(200):
        fill(engine, b"%d" % n + bytes(1000))
    assert engine.size() > before


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    fill(engine, b"a")
    engine.close()
    engine = Engine.open(tmp_path)
    assert engine.get(Family.KEY, b"a") == b"value of a"
    engine.close()


def test_a_directory_is_open_once(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    with pytest.raises(StorageLocked, match=str(tmp_path)):
        Engine.open(tmp_path)
    engine.close()
    Engine.open(tmp_path).close()


def test_a_damaged_database_is_refused_by_name(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    fill(engine, b"a")
    engine.close()
    (tmp_path / "CURRENT").write_text("garbage\n")
    with pytest.raises(StorageError, match=str(tmp_path)):
        Engine.open(tmp_path)


def test_a_checkpoint_is_a_database_of_that_moment(engine: Engine, tmp_path: Path) -> None:
    fill(engine, b"before")
    engine.checkpoint(tmp_path / "copy")
    fill(engine, b"after")
    copy = Engine.open(tmp_path / "copy")
    assert list(copy.scan_keys(Family.KEY, b"", None)) == [b"before"]
    copy.close()


def test_a_checkpoint_that_cannot_be_written_is_an_error(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match="taken"):
        engine.checkpoint(tmp_path / "taken")


def test_compacting_keeps_what_is_there(engine: Engine) -> None:
    for n in range(100):
        fill(engine, b"%03d" % n)
    engine.compact()
    assert len(list(engine.scan_keys(Family.KEY, b"", None))) == 100


WRITER = """
import sys
from pathlib import Path
from rusd.storage import Batch, Engine, Family

engine = Engine.open(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    batch = Batch()
    batch.put(Family.KEY, n.to_bytes(8, "big"), b"x" * 100)
    batch.put(Family.CURRENT, b"newest", n.to_bytes(8, "big"))
    batch.put(Family.META, b"newest", n.to_bytes(8, "big"))
    engine.write(batch)
    print(n, flush=True)
"""


def test_kill_9_leaves_whole_batches_and_every_one_that_was_written(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    written = 0
    while written < 500:
        written = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    for line in writer.stdout:
        if line.endswith("\n"):
            written = int(line)
    writer.stdout.close()
    engine = Engine.open(tmp_path)
    newest = engine.get(Family.META, b"newest")
    assert newest is not None
    assert engine.get(Family.CURRENT, b"newest") == newest
    count = int.from_bytes(newest, "big")
    assert count >= written
    assert list(engine.scan_keys(Family.KEY, b"", None)) == [
        n.to_bytes(8, "big") for n in range(1, count + 1)
    ]
    engine.close()


def test_a_creation_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    """kill -9 between RocksDB's first files."""
    Engine.open(tmp_path).close()
    for path in tmp_path.iterdir():
        if path.suffix in (".log", ".sst") or path.name == "CURRENT":
            path.unlink()
    engine = Engine.open(tmp_path)
    assert engine.get(Family.META, b"nothing") is None
    engine.close()


def test_a_database_without_its_pointer_is_refused(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    batch = Batch()
    batch.put(Family.META, b"k", b"v")
    engine.write(batch)
    engine.close()
    (tmp_path / "CURRENT").unlink()
    with pytest.raises(StorageError, match="CURRENT is missing"):
        Engine.open(tmp_path)
