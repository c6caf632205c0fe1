"""The exchange of the live database, with a crash after each of its steps."""

import gc
import shutil
from pathlib import Path

import pytest

from rusd.state.database_directory import DatabaseDirectory
from rusd.storage import Batch, Engine, Family, StorageError


def replace(directory: DatabaseDirectory, live: Engine, checkpoint: Path) -> Engine:
    """All steps of a restore."""
    replacement = directory.prepare(live, checkpoint)
    replacement.commit()
    replacement.release()
    return replacement.engine


def write(engine: Engine, value: bytes) -> None:
    batch = Batch()
    batch.put(Family.META, b"name", value)
    engine.write(batch)
    engine.sync()


def live_value(root: Path) -> bytes | None:
    engine = DatabaseDirectory(root).open()
    try:
        return engine.get(Family.META, b"name")
    finally:
        engine.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose database holds b"old"."""
    root = tmp_path / "root"
    engine = DatabaseDirectory(root).open()
    write(engine, b"old")
    engine.close()
    return root


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A database that holds b"new"."""
    engine = Engine.open(tmp_path / "source")
    write(engine, b"new")
    engine.checkpoint(tmp_path / "checkpoint")
    engine.close()
    return tmp_path / "checkpoint"


def databases(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_what_was_written_is_found_again(root: Path) -> None:
    assert live_value(root) == b"old"


def test_replacing_makes_the_checkpoint_live_and_removes_the_old(
    root: Path, checkpoint: Path
) -> None:
    directory = DatabaseDirectory(root)
    engine = replace(directory, directory.open(), checkpoint)
    assert engine.get(Family.META, b"name") == b"new"
    engine.close()
    assert databases(root) == ["db-2"]
    assert not checkpoint.exists()
    assert live_value(root) == b"new"


def test_replacing_twice_goes_on_counting(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "again")
    directory = DatabaseDirectory(root)
    engine = replace(directory, directory.open(), checkpoint)
    engine = replace(directory, engine, tmp_path / "again")
    engine.close()
    assert databases(root) == ["db-3"]


def test_a_crash_before_the_pointer_moved_leaves_the_old_state(
    root: Path, checkpoint: Path
) -> None:
    checkpoint.rename(root / "db-2")
    (root / "CURRENT.new").write_text("db-2\n")
    assert live_value(root) == b"old"
    assert databases(root) == ["db-1"]


def test_a_crash_after_the_pointer_moved_leaves_the_new_state(root: Path, checkpoint: Path) -> None:
    checkpoint.rename(root / "db-2")
    (root / "CURRENT").write_text("db-2\n")
    assert live_value(root) == b"new"
    assert databases(root) == ["db-2"]


def test_a_leftover_in_the_way_of_a_replacement_is_overwritten(
    root: Path, checkpoint: Path
) -> None:
    directory = DatabaseDirectory(root)
    engine = directory.open()
    (root / "db-2").mkdir()
    (root / "db-2" / "half").write_bytes(b"copied")
    replace(directory, engine, checkpoint).close()
    assert live_value(root) == b"new"


def test_a_first_start_that_ended_before_the_pointer_was_written_is_resumed(root: Path) -> None:
    (root / "CURRENT").unlink()
    assert live_value(root) == b"old"
    assert (root / "CURRENT").read_text() == "db-1\n"


def test_several_databases_without_a_pointer_are_not_guessed_between(
    root: Path, checkpoint: Path
) -> None:
    checkpoint.rename(root / "db-2")
    (root / "CURRENT").unlink()
    with pytest.raises(StorageError):
        DatabaseDirectory(root).open()
    assert databases(root) == ["db-1", "db-2"]


@pytest.mark.parametrize(
    ("step", "survivor"),
    [
        ("rusd.state.database_directory.shutil.move", b"old"),
        ("rusd.base.durable.sync_tree", b"old"),
        ("rusd.state.database_directory.DatabaseDirectory._point_at", b"old"),
        ("rusd.state.database_directory.Path.replace", b"old"),
        ("rusd.storage.Engine.close", b"new"),
    ],
)
def test_a_crash_at_any_step_leaves_one_whole_state(
    root: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, step: str, survivor: bytes
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    directory = DatabaseDirectory(root)
    live = directory.open()
    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with pytest.raises(KeyboardInterrupt):
            replace(directory, live, checkpoint)
    live.close()
    gc.collect()  # a crashed process holds no locks
    assert live_value(root) == survivor
    assert len(databases(root)) == 1


@pytest.mark.parametrize("content", ["", "db-9\n", "../other\n"])
def test_a_broken_pointer_is_an_error_and_removes_nothing(root: Path, content: str) -> None:
    (root / "CURRENT").write_text(content)
    with pytest.raises(StorageError):
        DatabaseDirectory(root).open()
    assert databases(root) == ["db-1"]


def test_a_checkpoint_that_is_no_database_leaves_the_old_one_live(
    root: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "CURRENT").write_text("MANIFEST-000099\n")
    directory = DatabaseDirectory(root)
    engine = directory.open()
    with pytest.raises(StorageError):
        replace(directory, engine, broken)
    assert engine.get(Family.META, b"name") == b"old"
    engine.close()
    assert live_value(root) == b"old"


def test_a_read_under_way_does_not_stand_in_the_way_of_a_restore(
    root: Path, checkpoint: Path
) -> None:
    directory = DatabaseDirectory(root)
    live = directory.open()
    reading = live.cursor(Family.META, b"", None)
    engine = replace(directory, live, checkpoint)
    assert reading.values(10) == [b"old"]
    del reading, live
    gc.collect()
    assert engine.get(Family.META, b"name") == b"new"
    engine.close()
    assert live_value(root) == b"new"


def test_a_database_left_by_an_earlier_attempt_is_not_mixed_with_the_next(
    root: Path, checkpoint: Path
) -> None:
    """A move into a directory that exists would open an empty database, which then went live."""
    directory = DatabaseDirectory(root)
    live = directory.open()
    write_into = root / "db-2" / "checkpoint"
    write_into.mkdir(parents=True)
    engine = replace(directory, live, checkpoint)
    assert engine.get(Family.META, b"name") == b"new"
    assert not write_into.exists()
    engine.close()


def test_nothing_is_left_of_a_checkpoint_that_cannot_be_moved(
    root: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.mkdir()
        raise OSError(28, "No space left on device")

    directory = DatabaseDirectory(root)
    live = directory.open()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "move", full)
        with pytest.raises(OSError, match="No space"):
            directory.prepare(live, checkpoint)
    assert databases(root) == ["db-1"]
    engine = replace(directory, live, checkpoint)
    assert engine.get(Family.META, b"name") == b"new", "the next attempt succeeds"
    engine.close()
