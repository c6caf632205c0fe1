"""The commands of docs/migration.md, run as they stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import document
from tests.support.pair import ORACLE, command, etcdutl, oracle_version

SERVERS = ("OLD", "TRIAL", "ONE", "TWO", "THREE", "BACK")


def tools(place: Path) -> str:
    """A PATH with rusd's commands and those of the etcd to compare with."""
    place.mkdir()
    beside = Path(command(ORACLE)).parent
    for name in ("etcd", "etcdctl"):
        # (A dangling link would keep the document waiting for a server.)
        (place / name).symlink_to((beside / name).resolve(strict=True))
    wrapper = place / "etcdutl"
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(f"'{one}'" for one in etcdutl()) + ' "$@"\n')
    wrapper.chmod(0o755)
    for name in ("rusd", "rusdutl"):
        (place / name).symlink_to(command(name))
    return f"{place}:{os.environ['PATH']}"


def test_the_way_in_and_the_way_out_are_as_the_document_says(tmp_path: Path) -> None:
    if (3, 6) <= oracle_version() < (3, 7):
        pytest.skip("etcd 3.6 does not start on a file of version 3.7")
    document.run(document.DOCS / "migration.md", SERVERS, tmp_path, tools(tmp_path / "bin"), 100)
