"""Revisions follow real time: a call has at least every revision known before it began.

With one revision for each write this makes the whole history strictly serializable, across keys:
the order of revisions agrees with every client's observations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..history import History, Operation, Outcome
from . import describe
from .linearizable import refused_groups
from .search import effective, value_after
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that revisions follow the real time of the calls."""
    findings = Findings("revisions in real time", "calls")
    _check_unique(findings, history)
    _ordered(findings, history)
    return findings.verdict()


def _check_unique(findings: Findings, history: History) -> None:
    """Check that a revision belongs to one write, or to all writes of one txn."""
    owners: dict[int, Operation] = {}
    refused = refused_groups(history)
    for op in history.operations:
        # The response of a delete that found nothing has the revision of another write.
        changed = effective(op) and value_after(op) is not None and op.group not in refused
        if not changed or op.outcome is not Outcome.OK or not op.revision:
            continue
        owner = owners.setdefault(op.revision, op)
        if owner is not op and not (op.group and op.group == owner.group):
            findings.problem(
                f"two writes were given revision {op.revision}",
                [describe.operation(owner), describe.operation(op)],
            )


def _ordered(findings: Findings, history: History) -> None:
    seen = sorted(_known_revisions(history), key=lambda one: one[0])
    position = 0
    highest, witness = 0, ""
    for invoked, revision, op, writes in sorted(
        _calls_with_revision(history), key=lambda one: one[0]
    ):
        while position < len(seen) and seen[position][0] < invoked:
            if seen[position][1] > highest:
                _, highest, source = seen[position]
                witness = source if isinstance(source, str) else describe.operation(source)
            position += 1
        findings.checked += 1
        if revision < highest or (writes and revision == highest):
            kind = "write" if writes else "read"
            if op.outcome is Outcome.UNKNOWN:
                what = f"a write took effect at revision {revision} before it was asked for"
            else:
                what = f"a {kind} was answered at revision {revision}, though revision {highest}"
                what += " had been answered before it began"
            findings.problem(what, [f"before: {witness}", f"then: {describe.operation(op)}"])


def _known_revisions(history: History) -> Iterator[tuple[float, int, Operation | str]]:
    """Return (time, revision, client): from that time on the revision is known to be committed."""
    for op in history.operations:
        if op.outcome is Outcome.OK and op.revision and op.completed is not None:
            yield op.completed, op.revision, op
    for message in history.deliveries:
        revision = max((change.mod_revision for change in message.changes), default=0)
        if message.kind == "progress":
            revision = message.revision
        if revision:
            where = f"watcher {message.watcher} at {message.endpoint}"
            yield message.at, revision, f"[{message.at:.6f} s] {where} (revision {revision})"


def _calls_with_revision(history: History) -> Iterator[tuple[float, int, Operation, bool]]:
    """Return (begin, revision, call, whether it wrote) of all calls that must not be behind."""
    refused = refused_groups(history)
    for op in history.operations:
        if op.outcome is Outcome.OK and op.revision and not op.serializable:
            writes = effective(op) and value_after(op) is not None and op.group not in refused
            yield op.invoked, op.revision, op, writes
    timeline = Timeline.of(history)
    if timeline is None:
        return
    # If only one call requested a value, the final history gives the revision of its effect.
    asked = Counter((op.key, value_after(op)) for op in history.operations if effective(op))
    values: dict[tuple[str, str | None], int] = {
        (change.key, change.value): change.mod_revision
        for change in timeline.changes
        if change.value is not None
    }
    for op in history.operations:
        if op.outcome is Outcome.UNKNOWN and effective(op) and value_after(op) is not None:
            revision = values.get((op.key, value_after(op)))
            if revision and asked[op.key, value_after(op)] == 1:
                yield op.invoked, revision, op, True
