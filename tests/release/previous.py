"""An earlier revision as a command, to upgrade from.

PREVIOUS=REVISION names it. Otherwise it is the newest tag below HEAD, or while there is none the
newest ancestor that is at least SETTLED older than HEAD and was followed by a pause of PAUSE: main
rested there, so it is a state that people ran.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.release.build import ROOT, build, clone, git
from tests.release.environments import Environment
from tests.release.pythons import Python

SETTLED = 6 * 3600.0
PAUSE = 3600.0

NO_HISTORY = (
    "upgrades are NOT tested: this clone has no commit that is old enough "
    "(git fetch --unshallow, or PREVIOUS=REVISION)"
)


def previous() -> str | None:
    """The revision to upgrade from; None if this clone does not have it."""
    if named := os.environ.get("PREVIOUS"):
        return git(ROOT, "rev-parse", "--verify", f"{named}^{{commit}}")
    tags = git(ROOT, "tag", "--merged", "HEAD~1", "--sort=-v:refname") if _parents() else ""
    if tags:
        return tags.splitlines()[0]
    return settled(git(ROOT, "log", "--format=%ct %H").splitlines())


def settled(log: Sequence[str]) -> str | None:
    """The newest commit of "TIME HASH" lines, newest first, after which main rested."""
    times = [int(line.partition(" ")[0]) for line in log]
    for number, (later, earlier) in enumerate(pairwise(times), start=1):
        if later - earlier >= PAUSE and times[0] - earlier >= SETTLED:
            return log[number].partition(" ")[2]
    return None


def _parents() -> bool:
    return len(git(ROOT, "log", "-2", "--format=%H").splitlines()) == 2


def installed(revision: str, directory: Path) -> Environment:
    """Build the wheel of a revision, and install it with its own dependencies."""
    clone(directory / "tree", revision)
    wheel = build(directory / "tree", directory / "out").wheel
    version = "{}.{}".format(*sys.version_info)
    environment = Environment(Python(version, sys.executable), directory / "environment")
    environment.install(str(wheel))
    return environment


def described(revision: str) -> str:
    """The revision for a person."""
    return git(ROOT, "log", "-1", "--format=%h of %cs, %s", revision)
