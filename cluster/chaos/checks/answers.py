"""Every response agrees with the final history at its revision.

A read, serializable or not, names the revision of its response and must return the key's value at
exactly that revision. A compare-and-swap that succeeded must have found its expected value at the
revision before its own; one that failed must not have found it.
"""

from __future__ import annotations

from collections import defaultdict

from ..history import Action, Change, History, Operation, Outcome
from . import describe
from .linearizable import refused_groups
from .search import effective
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that each response agrees with its call and with the revision it names."""
    findings = Findings("answers match the history", "answers")
    timeline = Timeline.of(history)
    if timeline is None:
        if history.operations:
            findings.doubt("no member's final history was recorded")
        return findings.verdict()
    refused = refused_groups(history)
    written: dict[int, set[str]] = defaultdict(set)
    for op in history.operations:
        if op.group and effective(op):
            written[op.group].add(op.key)
    stale = 0
    for op in history.operations:
        if op.outcome is not Outcome.OK or op.group in refused:
            continue
        if op.action is Action.READ:
            if op.key in written.get(op.group, ()):
                continue  # The order within its own txn is not known.
            stale += op.serializable
            findings.checked += 1
            _read(findings, timeline, op)
        elif op.action is Action.CAS and op.revision:
            findings.checked += 1
            _compared(findings, timeline, op)
    findings.note(f"{stale:,} of them serializable reads")
    return findings.verdict()


def _read(findings: Findings, timeline: Timeline, op: Operation) -> None:
    if not op.revision:
        values = {change.value for change in timeline.by_key.get(op.key, [])}
        if not timeline.horizon and op.result is not None and op.result not in values:
            findings.problem(
                f"key {op.key}: a read returned a value that the key never had",
                [describe.operation(op)],
            )
        return
    if op.revision > timeline.last:
        findings.problem(
            f"key {op.key}: a read was answered at revision {op.revision}, but the history of "
            f"{timeline.member} ends at {timeline.last}",
            [describe.operation(op)],
        )
    if not timeline.knows(op.key, op.revision):
        return
    was = timeline.at(op.key, op.revision)
    value = was.value if was else None
    if value != op.result:
        findings.problem(
            f"key {op.key}: a read returned {describe.value(op.result)} at revision {op.revision}, "
            f"where the key was {describe.value(value)}",
            [describe.operation(op), *_revisions_of_value(timeline, op)],
        )
    elif was is not None and value is not None and not _same_place(op, was):
        findings.problem(
            f"key {op.key}: a read returned mod_revision {op.mod_revision} and version "
            f"{op.version}; the history has {was.mod_revision} and {was.version}",
            [describe.operation(op)],
        )


def _same_place(op: Operation, was: Change) -> bool:
    if op.mod_revision and op.mod_revision != was.mod_revision:
        return False
    return not (op.version and was.version) or op.version == was.version


def _revisions_of_value(timeline: Timeline, op: Operation) -> list[str]:
    """Describe at which revisions the key had the value that was read."""
    had = [
        f"The key got that value at revision {change.mod_revision}"
        for change in timeline.by_key.get(op.key, [])
        if change.value == op.result
    ]
    return had[-3:] or ["The key never was that"]


def _compared(findings: Findings, timeline: Timeline, op: Operation) -> None:
    before = op.revision - 1 if op.succeeded else op.revision
    if not timeline.knows(op.key, before):
        return
    value = timeline.value_at(op.key, before)
    if (value == op.expected) != bool(op.succeeded):
        findings.problem(
            f"key {op.key}: a compare-and-swap {'succeeded' if op.succeeded else 'was refused'} "
            f"at revision {op.revision}, where the key was {describe.value(value)}",
            [describe.operation(op)],
        )
