"""Samples of Raft under etcd's names: the log's disk, proposals and reads, the other members."""

from collections.abc import Iterator
from typing import Protocol

from rusd.base.distribution import DISK_SECONDS
from rusd.observe.samples import Histogram, Sample
from rusd.raft.interface import Measured, Peers, Role


class Node(Measured, Peers, Role, Protocol):
    """The part of the Raft node that this room uses."""


class RaftSamples:
    """Reads the samples (a `Source`)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def read(self) -> Iterator[Sample | Histogram]:
        """Returns all samples, now."""
        yield from self._own()
        yield from self._peers()
        yield from self._snapshots()

    def _own(self) -> Iterator[Sample | Histogram]:
        seen = self._node.statistics()
        for name, text, seconds in (
            ("fsync", "Flushes of the log.", seen.fsync_seconds),
            ("write", "Writes to the log.", seen.write_seconds),
        ):
            etcds = seconds.within(DISK_SECONDS)
            yield Histogram(f"etcd_disk_wal_{name}_duration_seconds", text, etcds)
        yield Sample("etcd_disk_wal_write_bytes_total", "Written to the log.", seen.written_bytes)
        for name, text, count in (
            ("proposals_failed_total", "Proposals given up.", seen.proposals_failed),
            ("read_indexes_failed_total", "Linearizable reads given up.", seen.reads_failed),
            ("slow_read_indexes_total", "Read indexes asked for again.", seen.reads_repeated),
            ("slow_apply_total", "Applies that took long.", seen.slow_applies),
            ("heartbeat_send_failures_total", "Late heartbeats.", seen.late_heartbeats),
        ):
            yield Sample(f"etcd_server_{name}", text, count, counter=True)

    def _snapshots(self) -> Iterator[Sample | Histogram]:
        seen = self._node.statistics()
        for direction, label, transfers in (
            ("send", "To", seen.snapshots_sent),
            ("receive", "From", seen.snapshots_received),
        ):
            for member, one in transfers.items():
                labels = {label: f"{member:x}"}
                prefix = f"etcd_network_snapshot_{direction}_"
                yield Sample(f"{prefix}success", "Snapshots.", one.successes, labels, counter=True)
                yield Sample(f"{prefix}failures", "Broken off.", one.failures, labels, counter=True)
                under_way = one.started is not None
                yield Sample(f"{prefix}inflights_total", "Under way.", under_way, labels)
                yield Histogram(
                    f"{prefix}total_duration_seconds", "Whole ones.", one.seconds, labels
                )

    def _peers(self) -> Iterator[Sample | Histogram]:
        local = f"{self._node.member_id:x}"
        traffic = self._node.statistics().traffic
        # As in etcd, a member knows itself.
        yield Sample("etcd_network_known_peers", "Members.", 1, {"Local": local, "Remote": local})
        for member, peer in self._node.peer_status().items():
            remote = f"{member:x}"
            pair, to, sender = {"Local": local, "Remote": remote}, {"To": remote}, {"From": remote}
            seen = traffic[member]
            yield Sample("etcd_network_known_peers", "Members.", 1, pair)
            yield Sample("etcd_network_active_peers", "Connected.", peer.connected, pair)
            for name, text, labels, count in (
                ("disconnected_peers_total", "Broken connections.", pair, seen.disconnects),
                ("peer_sent_bytes_total", "Sent.", to, seen.sent_bytes),
                ("peer_received_bytes_total", "Received.", sender, seen.received_bytes),
                ("peer_sent_failures_total", "Not sent.", to, seen.sent_failures),
                ("peer_received_failures_total", "Broke off.", sender, seen.received_failures),
            ):
                yield Sample(f"etcd_network_{name}", text, count, labels, counter=True)
            yield Histogram(
                "etcd_network_peer_round_trip_time_seconds", "Round trips.", seen.round_trips, to
            )
