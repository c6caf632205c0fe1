"""A directory of backups."""

from __future__ import annotations

import os
from pathlib import Path

from rusd.backup.scheduled import Directory


def test_a_draft_gets_its_name_and_is_listed(tmp_path: Path) -> None:
    place = Directory(tmp_path / "a" / "b")
    assert place.entries() == []
    place.prepare()
    draft = place.drafts / "draft"
    draft.write_bytes(b"12345")
    place.put(draft, "name")
    assert [(each.name, each.size) for each in place.entries()] == [("name", 5)]
    place.delete("name")
    place.delete("name")
    assert place.entries() == []


def test_the_directory_is_private_if_it_is_made(tmp_path: Path) -> None:
    Directory(tmp_path / "a").prepare()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_only_plain_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    os.mkfifo(tmp_path / "pipe")
    assert Directory(tmp_path).entries() == []
