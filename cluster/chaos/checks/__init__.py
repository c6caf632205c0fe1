"""Whether a cluster kept etcd's promises, by the history of a run alone.

    verdicts = judge(History.load(path))

Each check is a file of its own that reads the whole history and says one `Verdict`:

    linearizable  each key is one register, by calls, answers and times (`search` finds the order)
    acknowledged  every acknowledged write is in the final history, once, and nothing unasked for
    realtime      revisions go with time, one for each write
    answers       reads and comparisons show their key as it was at their revision
    atomic        a txn over several keys happens as a whole
    watches       every watcher receives that history, in order, once, whole, without a gap
    leases        keys stay while their lease is kept alive, and it does not come back
    locks         one holder at a time, by fencing tokens
    members       all members end alike

The final history that most of them compare with is read through `timeline`. `verdict` is the form
of a result; `counterexample` and `describe` explain a failed one.
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
    """All verdicts; the run was right when all of them hold."""
    return [check(history) for check in CHECKS]
