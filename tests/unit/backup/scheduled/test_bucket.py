"""A bucket of an S3-compatible store, spoken to over its socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from rusd.backup.scheduled import Names, bucket
from rusd.backup.scheduled.bucket import Bucket
from tests.support.s3 import s3_store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_store("backups") as settings:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield settings["AWS_ENDPOINT_URL"]


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "draft"
    # (Two parts of an object: boto3 cuts at 8 MiB.)
    path.write_bytes(os.urandom((8 << 20) + 5))
    return path


def test_an_object_is_written_listed_and_removed_under_its_prefix(
    endpoint: str, draft: Path
) -> None:
    place = Bucket("backups", "a/b/", draft.parent / "drafts")
    place.prepare()
    assert place.entries("") == []
    name = Names(1, 2).backup(1_800_000_000, 3).name
    place.put(draft, name)
    Bucket("backups", "", draft.parent).put(draft, "elsewhere")
    ((listed, size, _),) = place.entries("")
    assert (listed, size) == (name, (8 << 20) + 5)
    stored = boto3.client("s3").get_object(Bucket="backups", Key=f"a/b/{name}")["Body"].read()
    assert stored == draft.read_bytes()
    assert place.entries("elsewhere") == []
    place.delete(name)
    place.delete(name)
    assert place.entries("") == []
    assert place.shown(name) == f"s3://backups/a/b/{name}"


def test_more_objects_than_one_answer_holds_are_listed(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "PAGE", 2)
    for number in range(5):
        boto3.client("s3").put_object(Bucket="backups", Key=f"many/{number}", Body=b"")
    assert len(Bucket("backups", "many/", tmp_path).entries("")) == 5


def test_an_object_of_another_size_than_was_sent_does_not_keep_its_name(
    endpoint: str, draft: Path
) -> None:
    place = Bucket("backups", "short/", draft.parent)
    client = place._client

    class Short:
        """A store that keeps a part of what it got."""

        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def upload_file(self, path: str, bucket: str, key: str, **_: object) -> None:
            client.put_object(Bucket=bucket, Key=key, Body=b"part")

    place._client = Short()
    with pytest.raises(OSError, match="has 4 bytes of"):
        place.put(draft, "name")
    assert place.entries("") == []


def test_errors_of_the_store_are_errors_of_the_system(endpoint: str, draft: Path) -> None:
    place = Bucket("missing", "", draft.parent)
    for call in (
        lambda: place.entries(""),
        lambda: place.put(draft, "name"),
        lambda: place.delete("name"),
    ):
        with pytest.raises(OSError, match="bucket does not exist"):
            call()


def test_a_member_that_stops_gives_an_upload_up(endpoint: str, draft: Path) -> None:
    place = Bucket("backups", "stopped/", draft.parent)
    place.abandon()
    with pytest.raises(OSError, match="stopping"):
        place.put(draft, "name")
    assert place.entries("") == []


def test_a_store_that_cannot_be_reached_is_an_error_of_the_system(
    endpoint: str, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    place = Bucket("backups", "", draft.parent)
    with pytest.raises(OSError, match="Could not connect"):
        place.entries("")
