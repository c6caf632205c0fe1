"""A directory of backups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rusd.backup.scheduled import Directory, place


def test_a_draft_gets_its_name_and_is_listed(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "a" / "b")
    assert directory.entries("") == []
    directory.prepare()
    draft = directory.drafts / "draft"
    draft.write_bytes(b"12345")
    directory.put(draft, "name")
    assert [(each.name, each.size) for each in directory.entries("")] == [("name", 5)]
    directory.delete("name")
    directory.delete("name")
    assert directory.entries("") == []


def test_the_directory_is_private_if_it_is_made(tmp_path: Path) -> None:
    Directory(tmp_path / "a").prepare()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_only_files_of_the_prefix_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    status = place._status

    def counted(entry: os.DirEntry[str]) -> os.stat_result | None:
        looked.append(entry.name)
        return status(entry)

    monkeypatch.setattr(place, "_status", counted)
    for name in ("mine-1", "other-1", "other-2"):
        (tmp_path / name).touch()
    assert [each.name for each in Directory(tmp_path).entries("mine-")] == looked == ["mine-1"]


def test_only_plain_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    os.mkfifo(tmp_path / "pipe")
    assert Directory(tmp_path).entries("") == []
