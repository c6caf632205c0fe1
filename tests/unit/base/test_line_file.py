"""Lines go to a file in a thread: rotation needs no signal, and no caller waits or fails."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from rusd.base import line_file
from rusd.base.line_file import LineFile


def until(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < deadline, path.read_text() if path.exists() else None
        time.sleep(0.005)


def counted(count: int) -> str:
    return f"{count} dropped"


def test_lines_are_appended_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for lines in (["a", "b\udc80"], ["c"]):
        file = LineFile(str(path), counted)
        for line in lines:
            file.write(line)
        file.close()
    assert path.read_text() == "a\nb\\udc80\nc\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_renamed_is_opened_anew(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    file = LineFile(str(path), counted)
    file.write("before")
    until(path, "before\n")
    os.rename(path, old)
    file.write("after")
    until(path, "after\n")
    os.unlink(path)
    file.write("again")
    until(path, "again\n")
    assert old.read_text() == "before\n"
    file.close()


def test_a_file_that_cannot_be_opened_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        LineFile(str(tmp_path / "missing" / "audit.log"), counted)


def test_a_removed_directory_drops_lines_and_raises_no_error(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "audit.log"
    file = LineFile(str(path), counted)
    path.unlink()
    directory.rmdir()
    file.write("lost")
    deadline = time.monotonic() + 20
    while file._queue.qsize() and time.monotonic() < deadline:
        time.sleep(0.005)
    directory.mkdir()
    file.write("found")
    file.close()
    assert path.read_text().endswith("found\n")


def test_a_slow_disk_blocks_no_writer_and_dropped_lines_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO that nobody reads blocks the thread."""
    monkeypatch.setattr(line_file, "MAX_QUEUED", 10)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = LineFile(str(fifo), counted)
    line = "x" * 70_000
    began = time.monotonic()
    for _ in range(200):
        file.write(line)
    assert time.monotonic() - began < 5
    assert file._dropped > 0
    os.set_blocking(reader, True)
    read = b""
    file.write("last")
    while b"dropped" not in read:
        read += os.read(reader, 1 << 20)
    # (The thread is at its end, or about to block again: it is a daemon.)
    os.close(reader)
