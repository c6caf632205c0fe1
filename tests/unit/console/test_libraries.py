"""Modules of others in the console's site."""

import hashlib
from pathlib import Path

import pytest

import rusd

LIBRARIES = Path(rusd.__file__).parent / "console" / "site" / "lib"
ROWS = [
    line.split()
    for line in (LIBRARIES / "VERSIONS").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_library_is_the_file_of_the_version_that_is_named(row: list[str]) -> None:
    file, _package, _path, _licence, checksum = row
    assert hashlib.sha256((LIBRARIES / file).read_bytes()).hexdigest() == checksum


def test_each_library_is_named() -> None:
    assert {row[0] for row in ROWS} == {path.name for path in LIBRARIES.iterdir()} - {"VERSIONS"}
