"""Figures of members from two samples of each: rates, latencies, sizes. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from ..asking import Member, Status
from ..exposition import Metrics, grown


@dataclass(frozen=True)
class Sample:
    """What a member said at a time (monotonic seconds)."""

    url: str
    time: float
    #: The member whose address this is, if that is known.
    member: Member | None = None
    status: Status | None = None
    metrics: Metrics | None = None
    error: str = ""


@dataclass(frozen=True)
class Row:
    """Figures of a member; None: not known. Rates are of a second, latencies seconds (99th
    percentile), sizes bytes.
    """

    name: str
    url: str
    role: str
    error: str = ""
    version: str = ""
    term: int | None = None
    #: Entries behind the highest index of all members, both of one sample: a few are normal.
    lag: int | None = None
    #: Ranges that this member served, and writes that it applied (the same on each member).
    reads: float | None = None
    writes: float | None = None
    #: Events for watchers.
    events: float | None = None
    fsync: float | None = None
    commit: float | None = None
    #: To the slowest peer, since the start of the process.
    peer: float | None = None
    size: int | None = None
    in_use: int | None = None
    quota: int | None = None
    watchers: int | None = None
    streams: int | None = None
    pending: int | None = None
    #: Of one CPU.
    cpu: float | None = None
    memory: int | None = None
    descriptors: int | None = None


_WRITES = ("etcd_mvcc_put_total", "etcd_mvcc_delete_total")


def row(before: Sample | None, now: Sample, highest: int) -> Row:
    """Return a member's figures; `highest`: index of all members. Rates need a sample before."""
    name = now.member.name if now.member is not None else ""
    status, metrics = now.status, now.metrics
    if status is None:
        return Row(name, now.url, "away", error=now.error)
    role = "follower"
    if status.learner:
        role = "learner"
    elif status.leader == status.member:
        role = "leader"
    elif status.leader == 0:
        role = "no leader"
    plain = Row(
        name,
        now.url,
        role,
        error=", ".join(status.errors),
        version=status.version,
        term=status.term,
        lag=max(highest - status.applied, 0),
        size=status.size,
        in_use=status.in_use,
        quota=status.quota or None,
    )
    if metrics is None:
        return plain
    old = before.metrics if before is not None else None
    seconds = now.time - before.time if before is not None else 0.0

    def rate(*names: str) -> float | None:
        found = [more for one in names if (more := grown(old, metrics, one)) is not None]
        return sum(found) / seconds if found and seconds > 0 else None

    def latency(name: str) -> float | None:
        whole = metrics.histogram(name)
        first = old.histogram(name) if old is not None else None
        return (
            whole.since(first).quantile(0.99) if whole is not None and first is not None else None
        )

    def gauge(name: str) -> int | None:
        found = metrics.total(name)
        return None if found is None else int(found)

    round_trips = metrics.histogram("etcd_network_peer_round_trip_time_seconds")
    return Row(
        **{
            **vars(plain),
            "reads": rate("etcd_mvcc_range_total"),
            "writes": rate(*_WRITES),
            "events": rate("etcd_debugging_mvcc_events_total"),
            "fsync": latency("etcd_disk_wal_fsync_duration_seconds"),
            "commit": latency("etcd_disk_backend_commit_duration_seconds"),
            "peer": round_trips.quantile(0.99) if round_trips is not None else None,
            "quota": plain.quota or gauge("etcd_server_quota_backend_bytes"),
            "watchers": gauge("etcd_debugging_mvcc_watcher_total"),
            "streams": gauge("etcd_debugging_mvcc_watch_stream_total"),
            "pending": gauge("etcd_server_proposals_pending"),
            "cpu": rate("process_cpu_seconds_total"),
            "memory": gauge("process_resident_memory_bytes"),
            "descriptors": gauge("process_open_fds"),
        }
    )


@dataclass(frozen=True)
class View:
    """All members at a time."""

    rows: tuple[Row, ...]
    #: The leader's name or URL; "": none is known.
    leader: str
    revision: int
    #: Of the cluster; None: not known.
    leases: int | None
    alarms: tuple[str, ...]
    #: Members that are away in the sample, and all.
    away: int


def view(
    before: dict[str, Sample], now: list[Sample], leases: int | None, alarms: tuple[str, ...]
) -> View:
    """Return the figures of all members; `before`: samples by URL."""
    statuses = [each.status for each in now if each.status is not None]
    highest = max((status.index for status in statuses), default=0)
    made = [row(before.get(each.url), each, highest) for each in now]
    rows = tuple(sorted(made, key=lambda each: (each.name, each.url)))
    leading = [each for each in rows if each.role == "leader"]
    newest = max(leading, key=lambda each: each.term or 0, default=None)
    return View(
        rows,
        (newest.name or newest.url) if newest is not None else "",
        max((status.revision for status in statuses), default=0),
        leases,
        alarms,
        sum(each.role == "away" for each in rows),
    )
