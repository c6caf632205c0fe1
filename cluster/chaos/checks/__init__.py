"""Checks of etcd's guarantees that read only the history of a run.

    verdicts = judge(History.load(path))

Each check has its own file, reads the whole history and returns one `Verdict`:

    linearizable  each key is one register, by calls, answers and times (`search` finds the order)
    acknowledged  every acknowledged write is in the final history once; no other write is
    realtime      revisions follow real time, one for each write
    answers       reads and comparisons agree with the final history at their revision
    atomic        a txn over several keys takes effect as a whole
    watches       every watcher receives all events once, in order, without a gap
    leases        keys exist while their lease is kept alive; a lease that ended stays ended
    locks         a lock has one holder at a time, by fencing tokens
    members       all members end with the same data

Most checks compare with the final history, indexed by `timeline`. `verdict` defines the result;
`counterexample` and `describe` explain a failed one.
"""

from __future__ import annotations

from collections.abc import Callable

from ..history import History
from . import (
    acknowledged,
    answers,
    atomic,
    leases,
    linearizable,
    locks,
    members,
    realtime,
    watches,
)
from .verdict import Problem, Verdict

__all__ = ["CHECKS", "Problem", "Verdict", "judge"]

CHECKS: tuple[Callable[[History], Verdict], ...] = (
    linearizable.check,
    acknowledged.check,
    realtime.check,
    answers.check,
    atomic.check,
    watches.check,
    leases.check,
    locks.check,
    members.check,
)


def judge(history: History) -> list[Verdict]:
    """Return all verdicts; the run passed if all of them hold."""
    return [check(history) for check in CHECKS]
