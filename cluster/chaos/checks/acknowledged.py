"""Every acknowledged write is in the final history once; no write appears unrequested.

An acknowledged write names its revision, so its position is known. In addition, values are
counted: a value may occur in the history of a key as often as calls that may have taken effect
requested it. Any further occurrence is a call applied twice, or a failed call that took effect.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from ..history import Change, History, Operation, Outcome
from . import describe
from .linearizable import refused_groups
from .search import effective, value_after
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that no acknowledged change was lost, and that none appeared unrequested."""
    findings = Findings("acknowledged writes", "acknowledged writes")
    asked = _requested(history)
    timeline = Timeline.of(history)
    if timeline is None:
        findings.checked = sum(op.outcome is Outcome.OK for ops in asked.values() for op in ops)
        if findings.checked:
            findings.doubt("no member's final history was recorded")
        return findings.verdict()
    for key, operations in asked.items():
        _check_present(findings, timeline, key, operations)
        _check_requested(findings, timeline, key, operations, _lease_ends(history, key))
    _check_other_keys(findings, history, timeline)
    if timeline.horizon:
        findings.note(f"history up to revision {timeline.horizon} was compacted away")
    return findings.verdict()


def _requested(history: History) -> dict[str, list[Operation]]:
    """Return the calls that write, by key, including failed calls."""
    refused = refused_groups(history)
    asked: dict[str, list[Operation]] = defaultdict(list)
    for op in history.operations:
        wanted = asked[op.key]
        if effective(op) and op.group not in refused:
            wanted.append(op)
    return asked


def _check_present(
    findings: Findings, timeline: Timeline, key: str, operations: list[Operation]
) -> None:
    """Check that every acknowledged write has its change."""
    for op in operations:
        if op.outcome is not Outcome.OK:
            continue
        findings.checked += 1
        if not op.revision or op.revision <= timeline.horizon:
            continue
        if op.revision > timeline.last:
            findings.problem(
                f"key {key}: an acknowledged write is lost: the history of {timeline.member} ends "
                f"at revision {timeline.last}",
                [describe.operation(op)],
            )
        elif value_after(op) is None:
            now = timeline.at(key, op.revision)
            if now is not None and now.value is not None:
                findings.problem(
                    f"key {key}: an acknowledged delete is not in the final history",
                    [describe.operation(op), f"There the key holds: {_change(now)}"],
                )
        else:
            there = timeline.by_revision.get(op.revision, {}).get(key)
            if there is None or there.value != op.argument:
                findings.problem(
                    f"key {key}: an acknowledged write is not in the final history",
                    [describe.operation(op), *_found_instead(timeline, op)],
                )


def _found_instead(timeline: Timeline, op: Operation) -> list[str]:
    """Returns the change at the revision of the write, and the revisions of the value."""
    there = timeline.by_revision.get(op.revision, {})
    lines = [f"At revision {op.revision} there is: {_change(change)}" for change in there.values()]
    if not lines:
        lines.append(f"At revision {op.revision} there is no change")
    lines += (
        f"The value is there at another revision: {_change(change)}"
        for change in timeline.by_key.get(op.key, [])
        if change.value == op.argument and change.mod_revision != op.revision
    )
    return lines


def _check_requested(
    findings: Findings,
    timeline: Timeline,
    key: str,
    operations: list[Operation],
    lease_ends: int,
) -> None:
    """Check that no value occurs more often than requested, or less often than acknowledged."""
    possible: Counter[str | None] = Counter()
    promised: Counter[str | None] = Counter()
    by_value: dict[str | None, list[Operation]] = defaultdict(list)
    deletes = set()
    for op in operations:
        by_value[value_after(op)].append(op)
        if op.outcome is not Outcome.FAILED:
            possible[value_after(op)] += 1
        if op.outcome is Outcome.OK:
            promised[value_after(op)] += 1
            if value_after(op) is None:
                deletes.add(op.revision)
    changes: dict[str | None, list[Change]] = defaultdict(list)
    for change in timeline.by_key.get(key, []):
        # A delete at an acknowledged revision belongs to that call; others need an unknown one.
        if change.value is not None or change.mod_revision not in deletes:
            changes[change.value].append(change)
    unseen = [op for op in by_value[None] if op.outcome is Outcome.UNKNOWN or not op.revision]
    possible[None] = lease_ends + sum(op.outcome is not Outcome.FAILED for op in unseen)
    for value, found in changes.items():
        if len(found) > possible[value]:
            findings.problem(
                f"key {key}: {_excess(value, possible[value], by_value[value])}",
                [f"in the history: {_change(change)}" for change in found]
                + [f"asked: {describe.operation(op)}" for op in by_value[value]],
            )
    if timeline.horizon:
        return
    for value, times in promised.items():
        known = any(op.revision for op in by_value[value] if op.outcome is Outcome.OK)
        if value is not None and not known and len(changes[value]) < times:
            findings.problem(
                f"key {key}: {describe.value(value)} was acknowledged {times} times and is in the "
                f"final history {len(changes[value])} times",
                [f"asked: {describe.operation(op)}" for op in by_value[value]],
            )


def _excess(value: str | None, possible: int, asked: list[Operation]) -> str:
    what = "a delete" if value is None else describe.value(value)
    if not asked:
        return f"{what} is in the final history, and nobody asked for it"
    if possible == 0 and all(op.outcome is Outcome.FAILED for op in asked):
        return f"{what} is in the final history, though the call had failed"
    return f"{what} was applied more often than asked for ({possible} times)"


def _lease_ends(history: History, key: str) -> int:
    """Return the number of leases whose end may have deleted the key."""
    return sum(
        call.action == "grant" and call.key == key and call.outcome is not Outcome.FAILED
        for call in history.leases
    )


def _check_other_keys(findings: Findings, history: History, timeline: Timeline) -> None:
    """Check for changes of keys that no call named, except unrecorded keys (locks, leases)."""
    named = {op.key for op in history.operations}
    named |= {call.key for call in history.leases}
    unrecorded = tuple(_unrecorded(history))
    for key, changes in timeline.by_key.items():
        if key not in named and not key.startswith(unrecorded):
            findings.problem(
                f"key {key} is in the final history, and no call named it",
                [f"in the history: {_change(change)}" for change in changes[:5]],
            )


def _unrecorded(history: History) -> Iterable[str]:
    """Return prefixes of keys whose writes are not recorded: `about["unrecorded"]`, and locks."""
    yield from history.about.get("unrecorded", ())
    yield from {hold.lock for hold in history.locks}


def _change(change: Change) -> str:
    return f"{change.key} = {describe.value(change.value)} at revision {change.mod_revision}"
