"""Wraps a table of methods in guards."""

from collections.abc import Sequence
from typing import Protocol

from rusd.rpc.methods import Method, Methods
from rusd.rpc.requirements import REQUIREMENTS, Requirements


class Guard(Protocol):
    """A check in front of methods."""

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """Returns `method` behind the check, or itself if it needs none."""


def guarded(methods: Methods, guards: Sequence[Guard]) -> Methods:
    """Returns `methods`, each behind `guards`; the first guard checks first.

    Raises LookupError if a method has no row in the table of requirements.
    """
    return {path: _wrapped(path, method, guards) for path, method in methods.items()}


def _wrapped(path: str, method: Method, guards: Sequence[Guard]) -> Method:
    requirements = REQUIREMENTS.get(path)
    if requirements is None:
        raise LookupError(f"no requirements are stated for the method {path}")
    for guard in reversed(guards):
        method = guard.wrap(method, requirements)
    return method
