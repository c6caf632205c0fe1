"""Where `--backup-dir` leads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rusd.backup.scheduled import Directory
from rusd.config import Config, ConfigError
from rusd.member.assemble import _place


def configured(tmp_path: Path, backup_dir: str) -> Config:
    return Config(data_dir=str(tmp_path / "data"), backup_interval=3600.0, backup_dir=backup_dir)


def test_a_path_is_a_directory(tmp_path: Path) -> None:
    place = _place(configured(tmp_path, str(tmp_path / "backups")))
    assert isinstance(place, Directory)
    assert place.drafts == tmp_path / "backups"


def test_a_url_is_a_bucket_and_its_drafts_lie_beside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    place = _place(configured(tmp_path, "s3://bucket/a/b"))
    assert place.shown("name") == "s3://bucket/a/b/name"
    assert place.drafts.is_relative_to(tmp_path / "data" / "member" / "exports")


def test_an_endpoint_that_is_no_url_is_an_error_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://not a host")
    with pytest.raises(ConfigError, match="--backup-dir s3://bucket: "):
        _place(configured(tmp_path, "s3://bucket"))


def test_without_the_extra_a_url_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "rusd.backup.scheduled.bucket", raising=False)
    with pytest.raises(ConfigError, match=r"needs rusd\[s3\]"):
        _place(configured(tmp_path, "s3://bucket"))
