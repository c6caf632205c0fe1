"""A txn over several keys takes effect as a whole, at one revision, or not at all.

Together with `realtime` (revisions follow real time) and `answers` (each part read at its revision)
this makes such txns strictly serializable.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from ..history import Action, History, Operation, Outcome
from . import describe
from .search import effective, value_after
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that transactions took effect as a whole."""
    findings = Findings("transactions are atomic", "transactions")
    groups: dict[int, list[Operation]] = defaultdict(list)
    for op in history.operations:
        if op.group:
            groups[op.group].append(op)
    timeline = Timeline.of(history)
    asked = Counter((op.key, value_after(op)) for op in history.operations if effective(op))
    for parts in groups.values():
        findings.checked += 1
        lines = [describe.operation(op) for op in parts]
        certain = [op for op in parts if op.outcome is Outcome.OK]
        if len({op.revision for op in certain}) > 1:
            findings.problem("the parts of one txn were given different revisions", lines)
        fates = {op.succeeded for op in certain if op.action is Action.CAS}
        if len(fates) > 1:
            findings.problem("one txn both succeeded and was refused", lines)
        if timeline is None:
            continue
        if fates == {False}:
            _check_refusal(findings, timeline, certain, lines)
        elif parts[0].outcome is not Outcome.FAILED:
            _check_whole(findings, timeline, parts, asked, lines)
    if timeline is not None:
        _check_no_foreign_value(findings, history, timeline, asked)
    elif groups:
        findings.doubt("no member's final history was recorded")
    return findings.verdict()


def _check_refusal(
    findings: Findings, timeline: Timeline, parts: list[Operation], lines: list[str]
) -> None:
    """Check that at least one comparison failed."""
    compared = [op for op in parts if op.action is Action.CAS and op.revision]
    known = all(timeline.knows(op.key, op.revision) for op in compared)
    if compared and known:
        held = [timeline.value_at(op.key, op.revision) == op.expected for op in compared]
        if all(held):
            findings.problem("a txn was refused though all its comparisons held", lines)


def _check_whole(
    findings: Findings,
    timeline: Timeline,
    parts: list[Operation],
    asked: Counter[tuple[str, str | None]],
    lines: list[str],
) -> None:
    """Check that all its values were written at one revision, or none."""
    came: dict[str, int] = {}
    for op in parts:
        value = value_after(op)
        # A value written by several calls does not identify its call; nor does a delete.
        if effective(op) and value is not None and asked[op.key, value] == 1:
            found = [
                change.mod_revision
                for change in timeline.by_key.get(op.key, [])
                if change.value == value
            ]
            if not found and timeline.horizon:
                return
            came[op.key] = found[0] if found else 0
    if len(set(came.values())) > 1:
        places = (
            f"{key}: {f'at revision {revision}' if revision else 'not in the history'}"
            for key, revision in came.items()
        )
        findings.problem("a txn took effect in part, or at several revisions", [*lines, *places])


def _check_no_foreign_value(
    findings: Findings,
    history: History,
    timeline: Timeline,
    asked: Counter[tuple[str, str | None]],
) -> None:
    """Check that values written at one revision belong to one txn."""
    writer = {
        (op.key, value_after(op)): op
        for op in history.operations
        if effective(op) and value_after(op) is not None and asked[op.key, value_after(op)] == 1
    }
    for revision, changes in timeline.by_revision.items():
        writers = [
            writer[change.key, change.value]
            for change in changes.values()
            if (change.key, change.value) in writer
        ]
        if len(writers) > 1 and (len({op.group for op in writers}) > 1 or not writers[0].group):
            findings.problem(
                f"calls that were separate share revision {revision}",
                [describe.operation(op) for op in writers],
            )
