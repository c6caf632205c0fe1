"""Samples of the store, leases, watches and maintenance, under etcd's names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from rusd.base.distribution import DISK_SECONDS, Distribution
from rusd.lease.counts import Counts as LeaseCounts
from rusd.maintenance.compactor import CompactionCounts
from rusd.mvcc.counts import Counts as StoreCounts
from rusd.observe.samples import Histogram, Sample


class Hub(Protocol):
    """The part of the watch hub in use."""

    @property
    def events(self) -> int:
        """Events sent to watchers so far."""


class Durations(Protocol):
    """Durations of maintenance calls, seconds."""

    @property
    def defragment(self) -> Distribution:
        """Defragmentations."""

    @property
    def hash(self) -> Distribution:
        """Hashes over everything."""

    @property
    def hash_kv(self) -> Distribution:
        """Hashes of the keys."""


class Maintenance(Protocol):
    """The part of the Maintenance service in use."""

    @property
    def seconds(self) -> Durations:
        """Durations of the calls."""

    @property
    def defragmenting(self) -> bool:
        """Whether a defragmentation runs."""


@dataclass(frozen=True, slots=True)
class OperationSamples:
    """Reads the samples (a `Source`)."""

    store: StoreCounts
    #: Writes to the database, seconds.
    commits: Distribution
    leases: LeaseCounts
    compactions: CompactionCounts
    hub: Hub
    maintenance: Maintenance

    def read(self) -> Iterator[Sample | Histogram]:
        """Returns all samples, now."""
        yield from self._store()
        yield from self._leases()
        yield from self._compactions()
        yield from self._maintenance()

    def _store(self) -> Iterator[Sample | Histogram]:
        store = self.store
        for name, text, count in (
            ("etcd_mvcc_put_total", "Puts.", store.puts),
            ("etcd_mvcc_delete_total", "Deletions.", store.deletes),
            ("etcd_mvcc_range_total", "Ranges.", store.ranges),
            ("etcd_mvcc_txn_total", "Txns of several operations.", store.txns),
            ("etcd_debugging_mvcc_events_total", "Events sent to watchers.", self.hub.events),
        ):
            yield Sample(name, text, count, counter=True)
        yield Sample("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes put.", store.put_bytes)
        yield Histogram(
            "etcd_disk_backend_commit_duration_seconds",
            "Writes to the database, one for an apply.",
            self.commits.within(DISK_SECONDS),
        )

    def _leases(self) -> Iterator[Sample | Histogram]:
        leases = self.leases
        for name, text, count in (
            ("lease_granted_total", "Leases granted.", leases.granted),
            ("lease_revoked_total", "Leases revoked or expired.", leases.revoked),
            ("lease_renewed_total", "Renewals by this leader.", leases.renewed),
            ("server_lease_expired_total", "Leases expired by this leader.", leases.expired),
        ):
            yield Sample(f"etcd_debugging_{name}", text, count, counter=True)
        yield Histogram("etcd_debugging_lease_ttl_total", "TTLs.", leases.ttls)

    def _compactions(self) -> Iterator[Sample | Histogram]:
        seen, prefix = self.compactions, "etcd_debugging_mvcc_db_compaction_"
        yield Sample(f"{prefix}keys_total", "Versions removed.", seen.versions, counter=True)
        yield Sample(f"{prefix}last", "Unix time of the last compaction.", seen.last)
        yield Histogram(
            f"{prefix}pause_duration_milliseconds", "Stretches of removal.", seen.stretches
        )
        yield Histogram(f"{prefix}total_duration_milliseconds", "Compactions.", seen.totals)

    def _maintenance(self) -> Iterator[Sample | Histogram]:
        seconds = self.maintenance.seconds
        yield Histogram(
            "etcd_disk_backend_defrag_duration_seconds", "Defragmentations.", seconds.defragment
        )
        yield Sample(
            "etcd_disk_defrag_inflight", "Whether one is under way.", self.maintenance.defragmenting
        )
        yield Histogram("etcd_mvcc_hash_duration_seconds", "Hashes.", seconds.hash)
        yield Histogram("etcd_mvcc_hash_rev_duration_seconds", "HashKVs.", seconds.hash_kv)
