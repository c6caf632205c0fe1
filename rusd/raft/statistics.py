"""Counts of a Raft member, read for metrics."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rusd.base.distribution import Distribution, exponential

#: Seconds of a round trip between members, and of a whole snapshot, as etcd's buckets.
ROUND_TRIP_SECONDS = exponential(0.0001, 2, 16)
SNAPSHOT_SECONDS = exponential(0.1, 2, 10)


class Traffic:
    """Messages and bytes exchanged with another member."""

    __slots__ = (
        "disconnects",
        "received_bytes",
        "received_failures",
        "round_trips",
        "sent_bytes",
        "sent_failures",
    )

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        #: Messages that were not sent, since there was no connection or it was too slow, and
        #: connections that could not be made.
        self.sent_failures = 0
        #: Connections that broke.
        self.received_failures = 0
        self.disconnects = 0
        self.round_trips = Distribution(ROUND_TRIP_SECONDS)


class Transfers:
    """Snapshots sent to, or received from, another member."""

    __slots__ = ("failures", "seconds", "started", "successes")

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        self.seconds = Distribution(SNAPSHOT_SECONDS)
        #: When the one under way began; None: there is none.
        self.started: float | None = None

    def begin(self) -> None:
        """Count a snapshot that begins; an unfinished one has failed."""
        self.end(success=False)
        self.started = time.monotonic()

    def end(self, *, success: bool) -> None:
        """Count the end of the current snapshot; no effect if there is none."""
        if self.started is None:
            return
        if success:
            self.successes += 1
            self.seconds.observe(time.monotonic() - self.started)
        else:
            self.failures += 1
        self.started = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """All counts at one moment."""

    #: Of the log: each flush, and the write before it.
    fsync_seconds: Distribution
    write_seconds: Distribution
    written_bytes: int
    #: Proposals of this member that were given up.
    proposals_failed: int
    #: Reads that were given up, and requests for a read index that were repeated.
    reads_failed: int
    reads_repeated: int
    #: Applies that took longer than `RaftConfig.slow_apply`.
    slow_applies: int
    #: Heartbeats that this leader sent late.
    late_heartbeats: int
    #: By member.
    traffic: Mapping[int, Traffic]
    snapshots_sent: Mapping[int, Transfers]
    snapshots_received: Mapping[int, Transfers]
