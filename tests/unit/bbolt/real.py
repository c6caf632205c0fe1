"""bbolt itself, in a process that `make build/bbolt/bbolt` builds of `go/main.go`."""

from __future__ import annotations

import json
import os
import select
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from rusd.bbolt import Bucket

#: The program; without it its tests are skipped (`make test-differential` builds it).
PROGRAM = os.environ.get("RUSD_TEST_BBOLT", "")
#: Seconds for an answer: a damaged file may send bbolt round in a circle.
TIMEOUT = 20.0

#: Value, or content of a nested bucket, by key.
Content = dict[bytes, "bytes | Content"]


class Change(NamedTuple):
    """Sets a key in a bucket; without a value removes it, without a key the bucket."""

    bucket: tuple[bytes, ...]
    key: bytes = b""
    value: bytes | None = None


def content_of(bucket: Bucket) -> Content:
    """What the reader finds in a bucket. Raises BboltError."""
    found: Content = {}
    nested = dict(bucket.buckets())
    for item in bucket.items():
        found[item.key] = content_of(nested[item.key]) if item.is_bucket else item.value
    return found


class Refused(Exception):
    """bbolt does not open the file, finds it damaged, or dies of it."""


class RealBbolt:
    """Started with the first request, and again after its death."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> Content:
        """Return the content of a file after a check. Raises Refused."""
        return _content(self._ask({"Path": str(path)})["Items"])

    def write(
        self,
        path: Path,
        transactions: Iterable[Iterable[Change]],
        *,
        page_size: int = 4096,
        free_list: str = "array",
        keep_free_list: bool = True,
    ) -> None:
        """Make a file by some transactions, without the changes that bbolt refuses."""
        changes = [[_change(one) for one in each] for each in transactions]
        options = {"PageSize": page_size, "FreeList": free_list}
        options["NoFreeListSync"] = not keep_free_list
        self._ask({"Path": str(path), "Transactions": changes, **options})

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        process = self._process = self._process or subprocess.Popen(
            [PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline() if _readable(process.stdout) else ""
        if not line:
            self.stop()
            raise Refused("it died, or did not end")
        answer: dict[str, Any] = json.loads(line)
        if answer["Error"]:
            raise Refused(answer["Error"])
        return answer


def _readable(pipe: IO[str]) -> bool:
    return bool(select.select([pipe], [], [], TIMEOUT)[0])


def _change(one: Change) -> dict[str, object]:
    return {
        "Bucket": [b64encode(name).decode() for name in one.bucket],
        "Key": b64encode(one.key).decode(),
        "Value": b64encode(one.value or b"").decode(),
        "Remove": one.value is None,
    }


def _content(items: Iterable[Mapping[str, Any]]) -> Content:
    return {
        b64decode(one["Key"]): _content(one["Items"])
        if one["Bucket"]
        else b64decode(one["Value"] or "")
        for one in items
    }
