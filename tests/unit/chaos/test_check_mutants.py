"""Each check has teeth: a run that went right is made wrong in one place, and is found out.

The run is simulated: three clients on a few keys, single calls and txns over two keys, a watcher, a
lease and a lock, all against one true store.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from cluster.chaos.checks import judge
from cluster.chaos.history import (
    Action,
    Change,
    History,
    LeaseCall,
    LockHold,
    Operation,
    Outcome,
)

from .story import Story

KEYS = ("a", "b", "c")
KINDS = ("read", "stale", "write", "delete", "swap", "refused", "pair", "lost")


def run(seed: int = 1, calls: int = 200) -> History:
    chance = random.Random(seed)
    story = Story()
    story.created(1)
    now = 0.0
    for number in range(calls):
        key, value = chance.choice(KEYS), str(number)
        held = story.now[key].value if key in story.now else None
        # The next call may begin before this one ends.
        begin, now = now - chance.random(), now + 1
        who = {"client": number % 3}
        before = story.revision
        kind = chance.choice(
            ("read", "stale", "write", "delete", "swap", "refused", "pair", "lost")
        )
        if kind == "read":
            story.read(key, held, begin, now, **who, **place(story, key))
        elif kind == "stale":
            story.read(key, held, begin, now, serializable=True, **who)
        elif kind == "write":
            story.write(key, value, begin, now, **who)
        elif kind == "delete" and held is not None:
            story.delete(key, begin, now, **who)
        elif kind == "swap":
            story.swap(key, held, value, begin, now, **who)
        elif kind == "refused":
            story.refused(key, "another", value, begin, now, **who)
        elif kind == "pair":
            pair = {"a": value, "b": value}
            revision = story.together(dict(pair))
            for one in pair:
                story.write(one, value, begin, now, **who, group=number + 1, revision=revision)
        elif kind == "lost":
            story.unknown(Action.WRITE, key, begin, argument=value, **who)
            if chance.random() < 0.5:
                story.change(key, value)
        news = [change for change in story.changes if change.mod_revision > before]
        if news:
            story.events(*news, at=now + 0.1)
        elif number % 10 == 0:
            story.message("progress", story.revision, now + 0.1)
    lease_and_lock(story, now + 1)
    return story.end()


def place(story: Story, key: str) -> dict[str, int]:
    change = story.now.get(key)
    if change is None or change.value is None:
        return {}
    return {"mod_revision": change.mod_revision, "version": change.version}


def lease_and_lock(story: Story, now: float) -> None:
    """A lease whose key goes with it after 5 s, and two holds of a lock with one write each."""
    story.history.add(LeaseCall(0, 7, "grant", "m1", now, now + 0.1, Outcome.OK, 5, "lease/7"))
    story.change("lease/7", "held")
    for client, lease in ((1, 8), (2, 9)):
        token = story.change("lock/owner", "")
        written = story.change("lock/data", str(client))
        released = story.change("lock/owner", None)
        hold = LockHold(client, "lock/", lease, token, now, now + 1, (written,), released)
        story.history.add(hold)
    story.change("lease/7", None)
    story.read("a", value_of(story, "a"), now + 6, now + 7)


def value_of(story: Story, key: str) -> str | None:
    return story.now[key].value if key in story.now else None


# --- ways to be wrong -----------------------------------------------------------------------------


def first(history: History, wanted: Callable[[Operation], bool]) -> int:
    """One in the middle of the run."""
    middle = len(history.operations) // 2
    return next(n for n, op in enumerate(history.operations) if n > middle and wanted(op))


def certain(op: Operation) -> bool:
    return op.outcome is Outcome.OK


def single_write(op: Operation) -> bool:
    return certain(op) and op.action is Action.WRITE and not op.group


def linear_read(op: Operation) -> bool:
    return certain(op) and op.action is Action.READ and op.version > 1 and not op.serializable


def alter(history: History, place: int, **fields: object) -> None:
    history.operations[place] = replace(history.operations[place], **fields)  # type: ignore[arg-type]


def rewrite(history: History, change: Callable[[Change], list[Change]]) -> None:
    """Change what all members tell, and the watcher too."""
    history.finals = [
        replace(final, changes=tuple(one for old in final.changes for one in change(old)))
        for final in history.finals
    ]


def lost_write(history: History) -> None:
    op = history.operations[first(history, single_write)]
    rewrite(history, lambda change: [] if change.mod_revision == op.revision else [change])


def stale_read(history: History) -> None:
    """A read that is consistently answered from an earlier revision."""
    at = first(history, linear_read)
    op = history.operations[at]
    older = next(
        change
        for change in history.finals[0].changes
        if change.key == op.key and change.value and change.mod_revision < op.mod_revision
    )
    revision = older.mod_revision
    alter(history, at, result=older.value, revision=revision, mod_revision=revision)
    alter(history, at, version=older.version)


def torn_read(history: History) -> None:
    """A value that does not belong to its revision."""
    alter(history, first(history, linear_read), result="never")


def failed_write_applied(history: History) -> None:
    alter(history, first(history, single_write), outcome=Outcome.FAILED, revision=0)


def applied_twice(history: History) -> None:
    op = history.operations[first(history, single_write)]
    history.finals = [
        replace(
            final,
            revision=final.revision + 1,
            changes=(*final.changes, Change(op.key, op.argument, final.revision + 1)),
        )
        for final in history.finals
    ]


def half_applied_txn(history: History) -> None:
    at = first(history, lambda op: certain(op) and op.group > 0)
    group, value = history.operations[at].group, history.operations[at].argument
    for n, op in enumerate(history.operations):
        if op.group == group:
            alter(history, n, outcome=Outcome.UNKNOWN, completed=None, revision=0)
    gone = ("b", value)
    rewrite(history, lambda change: [] if (change.key, change.value) == gone else [change])


def split_brain(history: History) -> None:
    """A refused compare-and-swap that succeeded on another side."""
    at = first(history, lambda op: op.succeeded is False)
    alter(history, at, succeeded=True)


def shared_revision(history: History) -> None:
    at = first(history, single_write)
    other = next(op for op in history.operations[at + 1 :] if single_write(op))
    alter(history, at, revision=other.revision)


def events(history: History) -> list[int]:
    return [n for n, message in enumerate(history.deliveries) if message.kind == "events"]


def lost_event(history: History) -> None:
    del history.deliveries[events(history)[10]]


def doubled_event(history: History) -> None:
    at = events(history)[10]
    history.deliveries.insert(at, history.deliveries[at])


def reordered_events(history: History) -> None:
    one, other = events(history)[10:12]
    told = history.deliveries
    told[one], told[other] = told[other], told[one]


def torn_event(history: History) -> None:
    at = next(n for n in events(history) if len(history.deliveries[n].changes) > 1)
    message = history.deliveries[at]
    parts = [replace(message, changes=(change,)) for change in message.changes]
    history.deliveries[at : at + 1] = parts


def hasty_progress(history: History) -> None:
    at = next(n for n, message in enumerate(history.deliveries) if message.kind == "progress")
    told = history.deliveries[at]
    history.deliveries[at] = replace(told, revision=told.revision + 5)


def early_expiry(history: History) -> None:
    history.leases[0] = replace(history.leases[0], ttl=60)


def zombie_lease(history: History) -> None:
    (grant,) = history.leases
    for action, begin in (("revoke", 900.0), ("keepalive", 901.0)):
        call = replace(grant, action=action, invoked=begin, completed=begin + 0.5, key="")
        history.add(call)


def two_holders(history: History) -> None:
    early, late = history.locks
    history.locks[0] = replace(early, writes=(*early.writes, late.writes[0] + 1), released_at=0)


def different_hash(history: History) -> None:
    history.finals[2] = replace(history.finals[2], hash=1)


def different_history(history: History) -> None:
    last = history.finals[2]
    history.finals[2] = replace(last, changes=last.changes[:-1])


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_went_right_holds(seed: int) -> None:
    assert [verdict for verdict in judge(run(seed)) if not verdict.holds] == []


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (lost_write, {"acknowledged writes", "watches"}),
        (stale_read, {"linearizable", "revisions in real time"}),
        (torn_read, {"linearizable", "answers match the history"}),
        (failed_write_applied, {"acknowledged writes"}),
        (applied_twice, {"acknowledged writes"}),
        (half_applied_txn, {"transactions are atomic"}),
        (split_brain, {"linearizable", "answers match the history"}),
        (shared_revision, {"revisions in real time"}),
        (lost_event, {"watches"}),
        (doubled_event, {"watches"}),
        (reordered_events, {"watches"}),
        (torn_event, {"watches"}),
        (hasty_progress, {"watches"}),
        (early_expiry, {"leases"}),
        (zombie_lease, {"leases"}),
        (two_holders, {"locks"}),
        (different_hash, {"members agree"}),
        (different_history, {"members agree"}),
    ],
)
def test_a_run_made_wrong_is_found_out(
    wrong: Callable[[History], None], names: set[str], seed: int
) -> None:
    history = run(seed)
    wrong(history)
    broken = {verdict.name for verdict in judge(history) if not verdict.holds}
    assert names <= broken
