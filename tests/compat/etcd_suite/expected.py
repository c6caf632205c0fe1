"""The expectation of a suite: every leaf passes, but for the groups that `VERSION.toml` lists.

A group has a reason, a result (`fail`, `skip`, or `not run` for whole functions), and patterns
of leaves (`*` stands for any text). A leaf whose result differs from that of its group is
unexpected: a known failure that passes has to leave the list, as has a pattern without leaves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

NOT_RUN = "not run"


@dataclass(frozen=True)
class Group:
    """Leaves of one suite that do not pass, and the reason."""

    reason: str
    result: str
    tests: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.result not in ("fail", "skip", NOT_RUN):
            raise ValueError(f"not a result that a group can have: {self.result}")


@dataclass(frozen=True)
class Expected:
    """Expected results of one suite."""

    groups: tuple[Group, ...] = ()

    def group(self, leaf: str) -> Group | None:
        """Return the group that names `leaf`, or None if the leaf is expected to pass."""
        for group in self.groups:
            if any(_matches(leaf, pattern) for pattern in group.tests):
                return group
        return None

    def result(self, leaf: str) -> str:
        group = self.group(leaf)
        return group.result if group else "pass"

    def may_hang(self, function: str) -> bool:
        """Return whether failures of `function` by name are listed: some wait without a limit."""
        return any(
            group.result == "fail" and any(p.split("/")[0] == function for p in group.tests)
            for group in self.groups
        )

    def differences(self, results: Mapping[str, str]) -> dict[str, str]:
        """Return the leaves with an unexpected result, each with a sentence about it."""
        return {
            leaf: f"{result}, expected {self.result(leaf)}"
            for leaf, result in results.items()
            if result != self.result(leaf)
        }

    def unused(self, results: Iterable[str]) -> list[str]:
        """Return the patterns that match no leaf of a whole run."""
        names = list(results)
        return [
            pattern
            for group in self.groups
            for pattern in group.tests
            if not any(_matches(name, pattern) for name in names)
        ]


def _matches(leaf: str, pattern: str) -> bool:
    # Brackets are part of names ("Keys=[key0]"), so only `*` is special.
    return fnmatchcase(leaf, pattern.replace("[", "[[]"))


def load(path: Path, suite: str) -> Expected:
    """Read the groups of `suite`; without a file every leaf is expected to pass."""
    if not path.exists():
        return Expected()
    groups = tomllib.loads(path.read_text()).get(suite, [])
    return Expected(
        tuple(Group(each["reason"], each["result"], tuple(each["tests"])) for each in groups)
    )
