"""A key exists while its lease is kept alive; a lease that ended stays ended.

A renewal (grant or answered keepalive) is processed after it is sent, so the lease cannot expire
before send time + TTL. The deletion time of a key is known from the final history (the revision of
the delete) and from the first response with that revision or a later one.

A lease has ended when its revocation succeeded, or when a member did not find it (unless the run
says that this proves nothing: "lease ends" in what it is about).

A lease may outlive its TTL without limit (a new leader restarts its clock), with one exception: at
the end of the run, leases whose last renewal is long ago must have expired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from ..history import Action, History, LeaseCall, Outcome
from . import describe
from .timeline import Timeline
from .verdict import Findings, Verdict

#: Seconds a lease may outlive its TTL at the end of the run, after the last fault and leader.
GRACE = 30.0


def check(history: History) -> Verdict:
    """Check that keys lived exactly as long as their leases allowed."""
    findings = Findings("leases", "lease calls")
    findings.checked = len(history.leases)
    calls: dict[int, list[LeaseCall]] = defaultdict(list)
    for call in history.leases:
        if call.outcome is not Outcome.FAILED:
            calls[call.lease].append(call)
    not_found_ends = history.about.get("lease ends", True)
    for lease, mine in calls.items():
        ends = [call for call in mine if _ends(call)]
        if not not_found_ends:
            ends = [call for call in ends if call.action == "revoke"]
        _ends_once(findings, lease, mine, ends)
    timeline = Timeline.of(history)
    if timeline is None:
        if calls:
            findings.doubt("no member's final history was recorded")
        return findings.verdict()
    _check_not_early(findings, history, timeline, calls)
    _check_not_late(findings, history, timeline, calls)
    findings.note(f"{len(calls):,} leases")
    return findings.verdict()


def renewed_until(calls: list[LeaseCall], before: float | None = None) -> float:
    """Return the time until which this lease certainly lives unless revoked; 0 without renewals.

    `before`: count only renewals sent before this time.
    """
    return max(
        (
            call.invoked + call.ttl
            for call in calls
            if _renews(call) and (before is None or call.invoked < before)
        ),
        default=0.0,
    )


def revoked_from(calls: list[LeaseCall]) -> float | None:
    """Return the time of the first revoke; None if never revoked."""
    return min((call.invoked for call in calls if call.action == "revoke"), default=None)


def _renews(call: LeaseCall) -> bool:
    answered = call.outcome is Outcome.OK and call.ttl > 0
    return answered and call.action in ("grant", "keepalive")


def _ends(call: LeaseCall) -> bool:
    if call.outcome is not Outcome.OK or call.completed is None:
        return False
    return call.action == "revoke" or (call.action in ("keepalive", "ttl") and call.ttl <= 0)


def _ends_once(
    findings: Findings, lease: int, calls: list[LeaseCall], ends: list[LeaseCall]
) -> None:
    if not ends:
        return
    end = min(ends, key=lambda call: call.completed or 0)
    for call in calls:
        alive = call.action in ("keepalive", "ttl") and call.outcome is Outcome.OK and call.ttl > 0
        if alive and call.invoked > (end.completed or 0):
            findings.problem(
                f"lease {lease:x} was found alive after it was known to have ended",
                [_call(end), _call(call)],
            )


class _RevisionTimes:
    """The time of the first response with each revision: its commit was no later."""

    def __init__(self, history: History) -> None:
        told = [
            (op.revision, op.completed)
            for op in history.operations
            if op.revision and op.completed is not None and op.outcome is Outcome.OK
        ]
        told += [
            (change.mod_revision, message.at)
            for message in history.deliveries
            for change in message.changes
        ]
        told.sort()
        self._revisions = [revision for revision, _ in told]
        self._earliest = [at for _, at in told]
        # A later revision implies that all before it are committed.
        for n in range(len(told) - 2, -1, -1):
            self._earliest[n] = min(self._earliest[n], self._earliest[n + 1])

    def latest(self, revision: int) -> float | None:
        """Return the latest possible commit time of this revision; None if unknown."""
        index = bisect_left(self._revisions, revision)
        return self._earliest[index] if index < len(self._earliest) else None


def _check_not_early(
    findings: Findings,
    history: History,
    timeline: Timeline,
    calls: dict[int, list[LeaseCall]],
) -> None:
    """Check that no key is deleted while all leases it may be attached to certainly live."""
    told = _RevisionTimes(history)
    deleted: dict[str, set[int]] = defaultdict(set)
    unsure: dict[str, float] = {}
    for op in history.operations:
        if op.action is Action.DELETE or (op.action is Action.CAS and op.argument is None):
            if op.outcome is Outcome.OK:
                deleted[op.key].add(op.revision)
            elif op.outcome is Outcome.UNKNOWN:
                unsure[op.key] = min(unsure.get(op.key, op.invoked), op.invoked)
    for key, leases in _leases_of(calls).items():
        for change in timeline.by_key.get(key, []):
            gone = told.latest(change.mod_revision)
            if change.value is not None or change.mod_revision in deleted[key] or gone is None:
                continue
            if key in unsure and unsure[key] <= gone:
                continue
            holders = [lease for lease in leases if calls[lease][0].invoked <= gone]
            excused = any(
                (revoked := revoked_from(calls[lease])) is not None and revoked <= gone
                for lease in holders
            )
            if excused or not holders:
                continue
            # One of them deleted it: at the earliest, the first that may have ended.
            until, lease = min((renewed_until(calls[lease], gone), lease) for lease in holders)
            revived = [
                call
                for call in calls[lease]
                if call.action == "keepalive" and _renews(call) and call.invoked > gone
            ]
            if revived and len(holders) == 1:
                findings.problem(
                    f"lease {lease:x} was found alive after its key {key} had gone with it",
                    [f"the key was known to be gone at {gone:.6f} s", _call(revived[0])],
                )
            if gone < until:
                last = max(
                    (call for call in calls[lease] if _renews(call) and call.invoked < gone),
                    key=lambda call: call.invoked + call.ttl,
                )
                findings.problem(
                    f"key {key} was gone {until - gone:.3f} s before its lease could end",
                    [
                        _call(last),
                        f"so the lease lives until {until:.6f} s at least",
                        f"the delete at revision {change.mod_revision} was known at {gone:.6f} s",
                    ],
                )


def _check_not_late(
    findings: Findings,
    history: History,
    timeline: Timeline,
    calls: dict[int, list[LeaseCall]],
) -> None:
    """Check that no key of a lease that ended long ago exists at the end of the run."""
    over = max(
        [op.completed or op.invoked for op in history.operations]
        + [message.at for message in history.deliveries]
        + [call.completed or call.invoked for call in history.leases],
        default=0.0,
    )
    settled = max(
        [fault.ended for fault in history.faults] + [leader.at for leader in history.leaders],
        default=0.0,
    )
    for key, leases in _leases_of(calls).items():
        held = timeline.keys.get(key)
        written = {op.key for op in history.operations}
        if held is None or key in written:
            continue  # The key may have been put again without a lease.
        ends = [_surely_over(calls[lease], settled) for lease in leases]
        if over > max(ends) + GRACE:
            findings.problem(
                f"key {key} is still there {over - max(ends):.0f} s after its lease ran out",
                [f"{key} = {describe.value(held[0])}", *map(_call, calls[leases[-1]][-3:])],
            )


def _surely_over(calls: list[LeaseCall], settled: float) -> float:
    ttl = max(call.ttl for call in calls)
    renewed = max(call.completed or call.invoked for call in calls)
    return max(renewed, settled) + ttl


def _leases_of(calls: dict[int, list[LeaseCall]]) -> dict[str, list[int]]:
    leases: dict[str, list[int]] = defaultdict(list)
    for lease, mine in calls.items():
        for call in mine:
            if call.action == "grant" and call.key:
                leases[call.key].append(lease)
    return leases


def _call(call: LeaseCall) -> str:
    until = f" to {call.completed:.6f}" if call.completed is not None else ""
    text = f"[{call.invoked:.6f}{until} s] client {call.client} at {call.endpoint}: {call.action} "
    text += f"lease {call.lease:x}, {call.outcome.value}"
    return text if call.action == "revoke" else f"{text}, TTL {call.ttl} s"
