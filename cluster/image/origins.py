"""Finds the Debian packages that files belong to, in the package manager's own records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

DATABASE = Path("/var/lib/dpkg")


class Package(NamedTuple):
    """An installed package."""

    name: str
    version: str
    architecture: str
    #: Its entry in the package manager's status file.
    record: str


def packages_of(paths: Iterable[Path]) -> list[Package]:
    """Return the packages of `paths` by name. Files of no package are passed over."""
    wanted = {os.path.realpath(path) for path in paths}
    names = {
        listing.name.removesuffix(".list").split(":")[0]
        for listing in (DATABASE / "info").glob("*.list")
        if any(os.path.realpath(line) in wanted for line in listing.read_text().splitlines())
    }
    return sorted(package for package in _installed() if package.name in names)


def _installed() -> Iterator[Package]:
    status = DATABASE / "status"
    for record in status.read_text().split("\n\n") if status.exists() else ():
        fields = dict(
            line.split(": ", 1)
            for line in record.splitlines()
            if ": " in line[1:] and line[0] != " "
        )
        if "Version" in fields:
            yield Package(
                fields["Package"], fields["Version"], fields["Architecture"], record.strip() + "\n"
            )
