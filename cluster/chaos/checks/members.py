"""At the end all members have the same revision, HashKV, keys and changes.

The changes are consistent: revisions increase, a key's version counts its changes since its
creation, and the keys at the end are the result of the changes.
"""

from __future__ import annotations

from ..history import Change, Final, History
from . import describe
from .timeline import Timeline
from .verdict import Findings, Verdict


def check(history: History) -> Verdict:
    """Check that all members ended with the same history."""
    findings = Findings("members agree", "members")
    finals = history.finals
    findings.checked = len(finals)
    if not finals:
        if history.operations:
            findings.doubt("no member's end was recorded")
        return findings.verdict()
    if len({(final.revision, final.hash) for final in finals}) > 1:
        findings.problem(
            "members end with different revisions or hashes",
            (
                f"{final.member}: revision {final.revision}, hash {final.hash}, compacted at "
                f"{final.compact_revision}"
                for final in finals
            ),
        )
    horizon = max(final.compact_revision for final in finals)
    first = finals[0]
    for other in finals[1:]:
        _same_keys(findings, first, other)
        _same_changes(findings, first, other, horizon)
    for final in finals:
        _check_changes(findings, final)
    findings.note(f"{len(first.changes):,} changes, {len(first.keys):,} keys")
    return findings.verdict()


def _same_keys(findings: Findings, one: Final, other: Final) -> None:
    differing = [
        key
        for key in sorted(one.keys.keys() | other.keys.keys())
        if one.keys.get(key) != other.keys.get(key)
    ]
    if differing:
        findings.problem(
            f"{one.member} and {other.member} hold different keys",
            (
                f"{key}: {_held(one, key)} on {one.member}, {_held(other, key)} on {other.member}"
                for key in differing[:5]
            ),
        )


def _held(final: Final, key: str) -> str:
    if key not in final.keys:
        return "absent"
    value, mod_revision, version = final.keys[key]
    return f"{describe.value(value)} (mod_revision {mod_revision}, version {version})"


def _same_changes(findings: Findings, one: Final, other: Final, horizon: int) -> None:
    mine, theirs = (
        [change for change in final.changes if change.mod_revision > horizon]
        for final in (one, other)
    )
    if mine == theirs:
        return
    place = next(
        (n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
        min(len(mine), len(theirs)),
    )
    findings.problem(
        f"{one.member} and {other.member} tell different histories",
        (
            f"{final.member}: {len(changes)} changes, number {place + 1} is "
            f"{_change(changes[place]) if place < len(changes) else 'missing'}"
            for final, changes in ((one, mine), (other, theirs))
        ),
    )


def _check_changes(findings: Findings, final: Final) -> None:
    """Check that one member's changes are consistent, and its keys their result."""
    now: dict[str, Change] = {}
    latest: tuple[int, set[str]] = (0, set())
    for change in final.changes:
        revision = change.mod_revision
        if revision < latest[0] or (revision == latest[0] and change.key in latest[1]):
            findings.problem(
                f"{final.member}: changes are out of order or doubled", [_change(change)]
            )
        if revision != latest[0]:
            latest = (revision, set())
        latest[1].add(change.key)
        if change.version and change.value is not None:
            _follows(findings, final, now.get(change.key), change)
        now[change.key] = change
    if not final.changes and not final.keys:
        return
    timeline = Timeline([final])
    for key in sorted(final.keys.keys() | timeline.by_key.keys()):
        last = timeline.at(key, final.revision)
        value, mod_revision, _ = final.keys.get(key, (None, 0, 0))
        if last is None:
            agrees = mod_revision <= final.compact_revision
        else:
            agrees = last.value == value and (value is None or last.mod_revision == mod_revision)
        if not agrees:
            findings.problem(
                f"{final.member}: a key is not what its changes left",
                [
                    f"{key} is {_held(final, key)}",
                    f"last change: {_change(last) if last else 'none'}",
                ],
            )


def _follows(findings: Findings, final: Final, before: Change | None, change: Change) -> None:
    if before is None and change.create_revision <= final.compact_revision:
        return  # Its first changes were compacted.
    if before is None or before.value is None:
        version, created = 1, change.mod_revision
    elif before.version:
        version, created = before.version + 1, before.create_revision
    else:
        return
    if (change.version, change.create_revision) != (version, created):
        findings.problem(
            f"{final.member}: version or create_revision do not follow from the change before",
            [
                f"before: {_change(before) if before else 'nothing'}",
                f"then: {_change(change)}, version {change.version}, created at "
                f"{change.create_revision}; {version} and {created} would follow",
            ],
        )


def _change(change: Change) -> str:
    return f"{change.key} = {describe.value(change.value)} at revision {change.mod_revision}"
