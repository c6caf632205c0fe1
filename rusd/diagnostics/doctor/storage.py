"""Checks of the store: alarms, hashes, quota, fragmentation, compaction, disk latencies, and
descriptors and watchers of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rusd.utl.printing import human_size

from ..exposition import Histogram
from .facts import Facts, Observed
from .findings import Certainty, Finding, critical, notice, unasked, warning

#: Shares of the quota and of the descriptors.
_NEAR: Final = 0.8
_FULL: Final = 0.95
#: Bytes of a database that are worth a defragmentation, if half is free.
_WORTH: Final = 100_000_000
#: Revisions that are kept.
_NEVER_COMPACTED: Final = 10_000
_MANY_REVISIONS: Final = 1_000_000
#: Histogram, what it is, seconds of the 99th percentile: notice (etcd's advice), warning, critical.
_LATENCIES: Final = (
    ("etcd_disk_wal_fsync_duration_seconds", "fsyncs of the log", 0.01, 0.1, 1.0),
    ("etcd_disk_backend_commit_duration_seconds", "commits of the database", 0.025, 0.25, 2.5),
)
#: Observations in the interval, and in all, that are enough to judge by.
_ENOUGH: Final = 20
_ENOUGH_IN_ALL: Final = 100
_SLOW_WATCHERS: Final = 100
_PENDING_EVENTS: Final = 10_000


def alarms(facts: Facts) -> Iterator[Finding]:
    """No alarm is raised."""
    if facts.alarms is None:
        text = f"alarms could not be asked for: {facts.alarms_error}"
        yield unasked("alarms-unknown", "", text, "--user with the role root")
    for alarm in facts.alarms or ():
        subject = facts.named(alarm.member)
        if alarm.name == "NOSPACE":
            yield critical(
                "alarm-nospace",
                subject,
                "the alarm NOSPACE is raised: a database reached its quota, and all writes but "
                "deletions are refused until the alarm is disarmed",
                *_compact(facts),
                facts.control("defrag"),
                facts.control("alarm", "disarm"),
                "delete keys first if the keys themselves are too many, or raise "
                "--quota-backend-bytes of every member",
            )
        elif alarm.name == "CORRUPT":
            yield critical(
                "alarm-corrupt",
                subject,
                "the alarm CORRUPT is raised: the member's data differs from the others', and it "
                "serves nothing",
                "stop it, keep a copy of its data, and let it join anew:",
                facts.control("member", "remove", f"{alarm.member:x}"),
            )
        else:
            yield critical("alarm", subject, f"the alarm {alarm.name} is raised")


def hashes(facts: Facts) -> Iterator[Finding]:
    """All members have the same keys (HashKV at one revision)."""
    if not facts.hash_revision:
        return
    by_compacted: dict[int, dict[int, list[Observed]]] = {}
    for each, _ in facts.answering():
        if each.hash is not None:
            same = by_compacted.setdefault(each.hash.compacted, {})
            same.setdefault(each.hash.hash, []).append(each)
        elif each.hash_error:
            yield unasked(
                "hash-unknown",
                facts.named(each),
                f"its keys were not compared: {each.hash_error}",
                *(("--user with the role root",) if "permission" in each.hash_error else ()),
            )
    versions = {status.version for _, status in facts.answering()}
    for found in by_compacted.values():
        if len(found) > 1 and len(versions) > 1:
            yield warning(
                "hash-differs",
                "",
                f"hashes at revision {facts.hash_revision} differ, as do versions, of which some "
                "hash differently (etcd before 3.5.10): this does not tell whether keys differ",
                "run this again when all members have one version",
                sure=Certainty.UNKNOWN,
            )
        elif len(found) > 1:
            yield _other_keys(facts, list(found.values()))
    if len(by_compacted) > 1:
        text = "the members were compacted at different revisions, so not all could be compared"
        yield unasked("hash-unknown", "", text, "run this again")


def _other_keys(facts: Facts, groups: list[list[Observed]]) -> Finding:
    """Return the finding about members whose keys differ; those of a group agree."""
    groups.sort(key=len)
    *few, most = ([facts.named(each) for each in group] for group in groups)
    if len(groups[-1]) > sum(map(len, groups)) / 2:
        subject = ", ".join(name for group in few for name in group)
        text = f"has other keys or values than {' and '.join(most)}"
    else:
        subject = ""
        text = f"members have different keys or values: {' / '.join(map(', '.join, (*few, most)))}"
    ids = [f"{each.status.member:x}" for group in groups[:-1] for each in group if each.status]
    return critical(
        "hash-differs",
        subject,
        f"{text} at revision {facts.hash_revision}: clients read different data",
        "take a snapshot of each member now, and keep it; then let the members that are wrong, "
        "most likely the fewer, join anew with empty directories:",
        *(facts.control("member", "remove", each) for each in ids),
    )


def quota(facts: Facts) -> Iterator[Finding]:
    """The databases are well below their quota, and not fragmented."""
    for each, status in facts.answering():
        limit = status.quota
        if not limit and each.metrics is not None:
            limit = int(each.metrics.total("etcd_server_quota_backend_bytes") or 0)
        subject = facts.named(each)
        free = status.size - status.in_use
        if limit > 0 and status.size >= _NEAR * limit:
            tell = critical if status.size >= _FULL * limit else warning
            yield tell(
                "quota",
                subject,
                f"the database has {human_size(status.size)} of a quota of {human_size(limit)} "
                f"({status.size / limit:.0%}), of which {human_size(status.in_use)} are in use; at "
                "the quota the alarm NOSPACE refuses all writes",
                *_compact(facts),
                facts.control("defrag", at=each.url),
                "or raise --quota-backend-bytes",
            )
        elif free > status.size / 2 and status.size >= _WORTH:
            yield warning(
                "fragmentation",
                subject,
                f"the database has {human_size(status.size)}, of which {human_size(free)} are "
                "free: a defragmentation gives them back",
                "one member after the other, the leader last; each blocks for seconds on etcd:",
                facts.control("defrag", at=each.url),
            )
        if limit == 0 and each.metrics is None:
            yield unasked("quota-unknown", subject, "does not tell its quota")


def compaction(facts: Facts) -> Iterator[Finding]:
    """History is compacted."""
    for each, status in facts.answering():
        compacted = _compacted(each)
        if compacted is None:
            continue
        kept = status.revision - compacted
        advice = (
            facts.control("compact", str(status.revision)),
            "for good: --auto-compaction-retention on every member (Kubernetes compacts by itself)",
        )
        if kept >= _MANY_REVISIONS:
            text = f"{kept:,} revisions are kept: the database and each start grow with them"
            yield warning("compaction", "", text, *advice)
        elif compacted <= 0 and kept >= _NEVER_COMPACTED:
            text = f"history was never compacted, {kept:,} revisions are kept"
            yield notice("compaction", "", text, *advice)
        else:
            continue
        return


def _compacted(each: Observed) -> int | None:
    """Return the revision up to which a member is compacted (0: never), None if it is not known."""
    name = "etcd_debugging_mvcc_compact_revision"
    found = each.metrics.total(name) if each.metrics is not None else None
    if found is not None:
        return max(int(found), 0)
    # (A hash at the compacted revision itself tells none.)
    return each.hash.compacted if each.hash is not None else None


def _compact(facts: Facts) -> tuple[str, ...]:
    """Return the command line that compacts all history, none if that is done."""
    revision = max((status.revision for _, status in facts.answering()), default=0)
    done = max((_compacted(each) or 0 for each, _ in facts.answering()), default=0)
    return (facts.control("compact", "--physical", str(revision)),) if revision > done else ()


def latencies(facts: Facts) -> Iterator[Finding]:
    """Disks are fast enough."""
    for each, _ in facts.answering():
        for name, what, fine, slow, too_slow in _LATENCIES:
            found, span = _observed(facts, each, name)
            value = found.quantile(0.99) if found is not None else None
            if value is None or value <= fine * 1.7:  # (buckets are powers of two)
                continue
            tell = notice
            if value > slow:
                tell = warning if value <= too_slow else critical
            yield tell(
                "disk-latency",
                facts.named(each),
                f"99 of 100 {what} took up to {value:g} s ({span}); etcd advises {fine:g} s",
                "a faster disk, or one that other work does not use; compare with `fio` "
                "(--fdatasync=1)",
            )


def _observed(facts: Facts, each: Observed, name: str) -> tuple[Histogram | None, str]:
    """Return the observations of the interval if they are enough, or else of all time."""
    if each.metrics is None:
        return None, ""
    whole = each.metrics.histogram(name)
    if whole is not None and each.metrics_before is not None and each.metrics_after is not None:
        before = each.metrics_before.histogram(name)
        recent = whole.since(before) if before is not None else None
        if recent is not None and recent.count >= _ENOUGH:
            return recent, f"{recent.count:.0f} in the last {facts.interval:g} s"
    if whole is None or whole.count < _ENOUGH_IN_ALL:
        return None, ""
    return whole, f"{whole.count:.0f} since its start"


def metrics_pages(facts: Facts) -> Iterator[Finding]:
    """Metrics could be read."""
    for each, _ in facts.answering():
        if each.metrics is None:
            yield unasked(
                "metrics-unknown",
                facts.named(each),
                "latencies, descriptors, watchers and peers were not looked at: "
                f"{each.metrics_error}",
            )


def descriptors(facts: Facts) -> Iterator[Finding]:
    """File descriptors are left."""
    for each, _ in facts.answering():
        if each.metrics is None:
            continue
        used = each.metrics.total("process_open_fds")
        limit = each.metrics.total("process_max_fds")
        if used is None or not limit:
            continue
        if used >= _NEAR * limit:
            tell = critical if used >= _FULL * limit else warning
            yield tell(
                "descriptors",
                facts.named(each),
                f"{used:.0f} of {limit:.0f} file descriptors are open; without one it takes no "
                "connection",
                "raise the limit (systemd: LimitNOFILE=65536), or find clients that leak "
                "connections",
            )


def watchers(facts: Facts) -> Iterator[Finding]:
    """Watchers keep up."""
    for each, _ in facts.answering():
        if each.metrics is None:
            continue
        slow = [
            page.total("etcd_debugging_mvcc_slow_watcher_total") or 0.0
            for page in (each.metrics_before or each.metrics, each.metrics)
        ]
        pending = each.metrics.total("etcd_debugging_mvcc_pending_events_total") or 0.0
        if min(slow) >= _SLOW_WATCHERS or pending >= _PENDING_EVENTS:
            yield warning(
                "watch-backlog",
                facts.named(each),
                f"{min(slow):.0f} watchers are behind, {pending:.0f} events wait for clients that "
                "do not read",
                "clients too slow for what they watch, or a watch of much history",
            )
        elif min(slow) > 0:
            text = f"{min(slow):.0f} watchers are behind the newest revision"
            yield notice("watch-backlog", facts.named(each), text)


def backups(facts: Facts) -> Iterator[Finding]:
    """Backups, where rusd makes them, are made in time."""
    for each, _ in facts.answering():
        if each.metrics is not None and each.metrics.total("rusd_backup_overdue"):
            text = "a backup is missing an interval after it was due"
            yield warning(
                "backup-overdue",
                facts.named(each),
                text,
                "its log says why it failed",
            )
