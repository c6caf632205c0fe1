"""A lock has one holder at a time.

Clocks cannot decide this: a client may believe it holds a lock whose lease has expired. So the
check uses revisions. Each write under a lock is guarded by the holder's token (the create revision
of its owner key): a holder's writes must have revisions after the end of every earlier hold and
before the end of its own.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from ..history import Change, History, LockHold
from .leases import renewed_until, revoked_from
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that no two clients held a lock at once."""
    findings = Findings("locks", "holds")
    findings.checked = len(history.locks)
    timeline = Timeline.of(history)
    by_lock: dict[str, list[LockHold]] = defaultdict(list)
    for hold in history.locks:
        by_lock[hold.lock].append(hold)
    writes = 0
    for lock, holds in by_lock.items():
        holds.sort(key=lambda hold: hold.token)
        for earlier, later in pairwise(holds):
            if earlier.token == later.token:
                findings.problem(
                    f"lock {lock} was held twice with token {later.token}",
                    [_hold(earlier), _hold(later)],
                )
        _check_no_overlap(findings, timeline, lock, holds)
        writes += sum(len(hold.writes) for hold in holds)
    _check_leases(findings, history, by_lock)
    findings.note(f"{len(by_lock):,} locks, {writes:,} guarded writes")
    return findings.verdict()


def _check_no_overlap(
    findings: Findings, timeline: Timeline | None, lock: str, holds: list[LockHold]
) -> None:
    """Check that holds do not overlap, in the order of their tokens."""
    #: The latest revision at which some earlier holder certainly held the lock.
    had, by = 0, holds[0]
    for hold in holds:
        ended = _end_revision(timeline, hold)
        if hold.writes:
            first, last = min(hold.writes), max(hold.writes)
            if first <= hold.token:
                findings.problem(
                    f"lock {lock}: a write at revision {first} came before its token", [_hold(hold)]
                )
            if ended and last >= ended:
                findings.problem(
                    f"lock {lock}: a write at revision {last} came after the hold ended at {ended}",
                    [_hold(hold)],
                )
            if by is not hold and first < had:
                findings.problem(
                    f"lock {lock}: a write at revision {first} while another held it until {had}",
                    [_hold(by), _hold(hold)],
                )
            if last > had:
                had, by = last, hold
        if ended > had:
            had, by = ended, hold


def _end_revision(timeline: Timeline | None, hold: LockHold) -> int:
    """Return the revision that ended this hold (response or final history); 0 if unknown."""
    if hold.released_at or timeline is None:
        return hold.released_at
    owner = _owner(timeline, hold)
    if owner is None:
        return 0
    return next(
        (
            change.mod_revision
            for change in timeline.by_key[owner.key]
            if change.value is None and change.mod_revision > hold.token
        ),
        0,
    )


def _owner(timeline: Timeline, hold: LockHold) -> Change | None:
    """Return the change that created the owner key."""
    created = [
        change
        for change in timeline.by_revision.get(hold.token, {}).values()
        if change.value is not None and change.key.startswith(hold.lock)
    ]
    return created[0] if len(created) == 1 else None


def _check_leases(findings: Findings, history: History, by_lock: dict[str, list[LockHold]]) -> None:
    """Check that no client acquires a lock while the lease of an unreleased hold lives."""
    calls = defaultdict(list)
    for call in history.leases:
        calls[call.lease].append(call)
    for lock, holds in by_lock.items():
        until, by = 0.0, holds[0]
        for hold in holds:
            if hold.acquired < until and by is not hold:
                findings.problem(
                    f"lock {lock} was given away {until - hold.acquired:.3f} s before its holder's "
                    "lease could end",
                    [_hold(by), _hold(hold)],
                )
            mine = calls[hold.lease]
            # Later renewals may have reached a lease that was alive for another reason.
            lives = renewed_until(mine)
            for end in (hold.released, revoked_from(mine)):
                if end is not None:
                    lives = min(lives, end)
            if lives > until:
                until, by = lives, hold


def _hold(hold: LockHold) -> str:
    text = f"client {hold.client}: token {hold.token}, lease {hold.lease:x}, acquired "
    text += f"{hold.acquired:.6f} s"
    if hold.released is not None:
        text += f", released {hold.released:.6f} s"
    if hold.released_at:
        text += f" at revision {hold.released_at}"
    return f"{text}, writes at {list(hold.writes)}"
