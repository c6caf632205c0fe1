"""A run removes the leftovers of killed runs, and none of a running one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.chaos import disks


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ended() -> int:
    """The process id of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_disks_of_a_run_that_is_no_more_are_removed(temporary: Path) -> None:
    left = temporary / f"rusd-disks-{ended()}-abc"
    (left / "disk-0").mkdir(parents=True)
    (left / "disk-0.img").write_bytes(b"x")
    disks.remove_left_behind()
    assert list(temporary.iterdir()) == []


def test_the_disks_of_a_run_that_goes_on_stay(temporary: Path) -> None:
    mine = disks.new_directory()
    (mine / "disk-0").mkdir()
    disks.remove_left_behind()
    assert (mine / "disk-0").is_dir()
    assert f"-{os.getpid()}-" in mine.name


def test_other_files_are_not_touched(temporary: Path) -> None:
    other = temporary / "rusd-disks-mine"
    other.mkdir()
    disks.remove_left_behind()
    assert other.is_dir()
