"""A bucket of an S3-compatible store: `s3://BUCKET/PREFIX`, through boto3 (the extra `rusd[s3]`).

Endpoint, region and credentials are boto3's own settings: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID and so on, its files, or the machine's role. An object appears whole or not at
all; boto3 sends a checksum with it, and its size is compared afterwards.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rusd.backup.scheduled.place import PRIVATE
from rusd.backup.scheduled.schedule import Entry

T = TypeVar("T")

#: Seconds to connect, and without a byte. A member that stops waits for them at worst.
CONNECT, SILENCE = 5.0, 20.0
#: Attempts of a request.
ATTEMPTS: Final = 2
#: Parts of an object that are sent at once, 8 MiB each.
PARTS: Final = 2
#: Names in one answer of a listing, S3's most.
PAGE: Final = 1000


class Bucket:
    """A bucket, shared by all members."""

    def __init__(self, bucket: str, prefix: str, drafts: Path) -> None:
        """`prefix`: of all names, "" or up to its last slash. `drafts`: a directory for files that
        are not sent yet. Raises OSError (settings that cannot be used).
        """
        self._bucket = bucket
        self._prefix = prefix
        self._drafts = drafts
        self._abandoned = False
        settings = Config(
            connect_timeout=CONNECT,
            read_timeout=SILENCE,
            retries={"total_max_attempts": ATTEMPTS},
        )
        self._client = _told(lambda: boto3.client("s3", config=settings))

    @property
    def drafts(self) -> Path:
        return self._drafts

    def prepare(self) -> None:
        self._drafts.mkdir(mode=PRIVATE, parents=True, exist_ok=True)

    def entries(self, prefix: str) -> list[Entry]:
        return _told(lambda: self._entries(prefix))

    def _entries(self, prefix: str) -> list[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, PaginationConfig={"PageSize": PAGE}
        )
        return [
            Entry(
                each["Key"].removeprefix(self._prefix),
                each["Size"],
                each["LastModified"].timestamp(),
            )
            for page in pages
            for each in page.get("Contents", ())
        ]

    def put(self, draft: Path, name: str) -> None:
        key = self._prefix + name
        config = TransferConfig(max_concurrency=PARTS)
        _told(
            lambda: self._client.upload_file(
                *(str(draft), self._bucket, key), Callback=self._sent, Config=config
            )
        )
        found = _told(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        size = draft.stat().st_size
        if found["ContentLength"] != size:
            self.delete(name)
            raise OSError(f"{self.shown(name)} has {found['ContentLength']} bytes of {size}")

    def _sent(self, count: int) -> None:
        if self._abandoned:
            raise OSError("the member is stopping")

    def abandon(self) -> None:
        self._abandoned = True

    def delete(self, name: str) -> None:
        _told(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name))

    def shown(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}"


def _told(call: Callable[[], T]) -> T:
    """Return the result of a call of boto3. Raises OSError in place of its errors."""
    try:
        return call()
    except (Boto3Error, BotoCoreError, ClientError, ValueError) as error:
        raise OSError(str(error)) from error
