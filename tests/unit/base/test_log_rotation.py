"""Log files that are renamed when full, compressed and removed, by lumberjack's names and rules."""

import gzip
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rusd.base import log_rotation
from rusd.base.log_rotation import RotatingFile, Rotation

START = datetime(2026, 1, 31, 12, 30, 59, 123_456, tzinfo=UTC)
#: Longer than half a file of one MiB, shorter than the whole.
LONG = "x" * 700_000


class Log:
    """A handler on a file, with a clock that the test sets."""

    def __init__(self, path: Path, **rotation: int) -> None:
        self.now = START
        self.path = path
        self.handler = RotatingFile(path, Rotation(maxsize=1, **rotation), lambda: self.now)

    def line(self, text: str) -> None:
        self.handler.emit(logging.LogRecord("x", logging.INFO, "", 0, text, None, None))

    def close(self) -> list[str]:
        """Close the log; the names of its directory's files."""
        self.handler.close()
        return sorted(os.listdir(self.path.parent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "etcd.log"


def test_the_directories_of_the_file_are_made(path: Path) -> None:
    assert Log(path).close() == ["etcd.log"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_does_not_fit_begins_a_new_file(path: Path) -> None:
    log = Log(path)
    log.line("first" + LONG)
    log.line("second" + LONG)
    assert log.close() == ["etcd-2026-01-31T12-30-59.123.log", "etcd.log"]
    assert path.read_text() == f"second{LONG}\n"
    assert path.with_name("etcd-2026-01-31T12-30-59.123.log").read_text() == f"first{LONG}\n"


def test_files_renamed_in_one_millisecond_have_different_names(path: Path) -> None:
    log = Log(path)
    for _ in range(4):
        log.line(LONG)
    assert log.close() == [
        *(f"etcd-2026-01-31T12-30-59.{part}.log" for part in (123, 124, 125)),
        "etcd.log",
    ]


def test_a_file_of_an_earlier_run_is_continued_and_counted(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("earlier" + LONG)
    log = Log(path)
    log.line("later" + LONG)
    assert log.close() == ["etcd-2026-01-31T12-30-59.123.log", "etcd.log"]


def test_a_line_longer_than_a_file_is_written_whole(path: Path) -> None:
    log = Log(path)
    log.line(LONG + LONG)
    log.line("next")
    log.close()
    assert path.read_text() == "next\n"


def test_the_oldest_files_beyond_maxbackups_are_removed(path: Path) -> None:
    log = Log(path, maxbackups=2)
    for _ in range(5):
        log.line(LONG)
        log.now += timedelta(seconds=1)
    assert log.close() == [
        "etcd-2026-01-31T12-31-02.123.log",
        "etcd-2026-01-31T12-31-03.123.log",
        "etcd.log",
    ]


def test_files_older_than_maxage_are_removed_and_others_left_alone(path: Path) -> None:
    log = Log(path, maxage=1)
    log.line(LONG)
    log.line(LONG)
    path.with_name("etcd-notes.log").write_text("somebody else's")
    log.now += timedelta(days=2)
    log.line(LONG)
    assert log.close() == ["etcd-2026-02-02T12-30-59.123.log", "etcd-notes.log", "etcd.log"]


def test_old_files_are_compressed(path: Path) -> None:
    log = Log(path, compress=True)
    log.line("first" + LONG)
    log.line(LONG)
    assert log.close() == ["etcd-2026-01-31T12-30-59.123.log.gz", "etcd.log"]
    packed = path.with_name("etcd-2026-01-31T12-30-59.123.log.gz")
    assert gzip.decompress(packed.read_bytes()).decode() == f"first{LONG}\n"


def test_compressed_files_count_among_the_backups(path: Path) -> None:
    log = Log(path, compress=True, maxbackups=1)
    for _ in range(3):
        log.line(LONG)
        log.now += timedelta(seconds=1)
    assert log.close() == ["etcd-2026-01-31T12-31-01.123.log.gz", "etcd.log"]


def test_a_disk_that_cannot_rename_lets_the_lines_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(path)
    log.line(LONG)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_rotation.Path, "rename", full)
    log.line("more" + LONG)
    log.line("end")
    log.close()
    assert path.read_text() == f"{LONG}\nmore{LONG}\nend\n"
