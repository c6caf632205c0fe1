"""Contents of the disk after a power cut: contents, names, and the names of directories above."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest

import rusd
from rusd.base import durable

#: The journal keeps its directory open, so that it needs no descriptor for its next segment.
FSYNC_ALLOWED = {"base/durable.py", "raft/log/segments.py"}


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths in the order in which they are synced."""
    paths: list[str] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        fsync(handle)
        paths.append(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(os, "fsync", note)
    return paths


def test_a_file_is_synced_before_its_name_and_its_directory_after(
    tmp_path: Path, synced: list[str]
) -> None:
    durable.write(tmp_path / "identity", b"1 2\n")
    assert synced == [str(tmp_path / "identity.new"), str(tmp_path)]
    assert (tmp_path / "identity").read_bytes() == b"1 2\n"
    assert os.listdir(tmp_path) == ["identity"]


def test_a_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write(tmp_path / "file", b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    durable.write(tmp_path / "key.pem", b"secret", 0o600)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_a_tree_is_synced_files_first(tmp_path: Path, synced: list[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"")
    durable.sync_tree(tmp_path)
    assert sorted(synced[:-1]) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert synced[-1] == str(tmp_path)


def test_every_parent_is_synced_up_to_one_that_belongs_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def sync(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        seen.append(path)

    monkeypatch.setattr(durable, "sync", sync)
    durable.sync_parents(tmp_path / "data" / "member" / "wal")
    assert seen == [tmp_path / "data" / "member", tmp_path / "data"]


def test_a_parent_that_cannot_be_synced_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable, "sync", sync)
    with pytest.raises(OSError, match="Input/output"):
        durable.sync_parents(tmp_path / "data")


def test_no_other_file_has_an_fsync_of_its_own() -> None:
    root = Path(rusd.__file__).parent
    users = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"\bos\.fsync\(", path.read_text())
    }
    assert users == FSYNC_ALLOWED
