"""Judges facts: a table of checks, each of which yields findings. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from . import membership, replication, security, storage
from .facts import Facts
from .findings import Finding, Severity

Check = Callable[[Facts], Iterator[Finding]]

#: In the order of a report of equal severity.
CHECKS: tuple[Check, ...] = (
    membership.answers,
    membership.one_cluster,
    membership.quorum,
    membership.leader,
    membership.health,
    storage.alarms,
    storage.hashes,
    storage.quota,
    membership.member_list,
    membership.learners,
    membership.versions,
    replication.lag,
    replication.terms,
    replication.counters,
    replication.round_trips,
    replication.connections,
    storage.latencies,
    storage.compaction,
    storage.watchers,
    storage.descriptors,
    storage.metrics_pages,
    storage.backups,
    replication.restarts,
    replication.clocks,
    security.certificates,
    security.encryption,
    security.authentication,
)


#: Checks that cannot say that all is well without metrics of all members.
_BY_METRICS = frozenset(
    [
        *(replication.terms, replication.counters, replication.round_trips),
        *(replication.connections, replication.restarts),
        *(storage.latencies, storage.watchers, storage.descriptors, storage.backups),
    ]
)


def _asked(check: Check, facts: Facts) -> bool:
    """Whether the answers let the check say that all is well."""
    answering = list(facts.answering())
    if check is not membership.answers and not answering:
        return False
    if check is storage.hashes:
        return all(each.hash is not None for each, _ in answering) and len(answering) > 1
    if check is replication.clocks:
        return all(each.clock is not None for each, _ in answering)
    if check is security.certificates:
        return bool(facts.certificates)
    if check in _BY_METRICS:
        return all(each.metrics is not None for each, _ in answering)
    return facts.members is not None or check not in (security.encryption, membership.quorum)


def judge(facts: Facts) -> tuple[list[Finding], list[str]]:
    """Return the findings, worst first, and the sentences of the checks that found nothing."""
    found: list[Finding] = []
    passed = []
    for check in CHECKS:
        new = list(check(facts))
        found += new
        if not new and _asked(check, facts):
            passed.append((check.__doc__ or "").partition("\n")[0])
    return sorted(_merged(found), key=lambda one: -one.severity), passed


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings that differ in their subject only as one."""
    subjects: dict[Finding, list[str]] = {}
    for each in findings:
        subjects.setdefault(each._replace(subject=""), []).append(each.subject)
    return [one._replace(subject=", ".join(filter(None, all_))) for one, all_ in subjects.items()]


def exit_code(findings: Iterable[Finding], fail_on: Severity | None) -> int:
    """Return the worst severity that is at or above `fail_on`; 0 without one. None: always 0."""
    if fail_on is None:
        return 0
    return max((int(one.severity) for one in findings if one.severity >= fail_on), default=0)
