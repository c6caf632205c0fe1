"""The series of a member's samples, from what its rooms count anyway.

Durations of reads and writes are those of unary calls over gRPC whose response came later, as that
of every linearizable read and of every write.
"""

import math
import resource
import time
from collections.abc import Iterator
from typing import Protocol

from rusd.base.distribution import Distribution
from rusd.console.series import Percentiles, Rate, Series, State
from rusd.mvcc.counts import Counts
from rusd.raft.interface import Indexes, Measured
from rusd.rpc.methods import Methods
from rusd.state.interface import WithKeys, WithLeases

_READS = ("/etcdserverpb.KV/Range",)
_WRITES = ("/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Txn")
_STATM = "/proc/self/statm"


class Node(Indexes, Measured, Protocol):
    """The part of the Raft node that this room uses."""


class Machine(WithKeys, WithLeases, Protocol):
    """The part of the state machine in use."""

    @property
    def size(self) -> int:
        """Bytes of the store by etcd's measure."""

    @property
    def size_in_use(self) -> int:
        """Bytes of `size` that hold data."""


class Hub(Protocol):
    """The part of the watch hub in use."""

    @property
    def watchers(self) -> int:
        """Number of watchers."""

    @property
    def streams(self) -> int:
        """Number of open watch streams."""

    @property
    def events(self) -> int:
        """Events sent to watchers so far."""


def member_series(
    node: Node, machine: Machine, hub: Hub, methods: Methods, commits: Distribution
) -> list[Series]:
    """Return the series of one member. `commits`: seconds of writes to the database."""
    counts = machine.store.counts
    return [*_rates(counts, hub, node), *_traffic(methods), *_durations(node, methods, commits),
            *_states(node, machine, hub)]  # fmt: skip


def _rates(counts: Counts, hub: Hub, node: Node) -> Iterator[Series]:
    yield Rate("ranges_per_s", lambda: counts.ranges)
    yield Rate("puts_per_s", lambda: counts.puts)
    yield Rate("txns_per_s", lambda: counts.txns)
    yield Rate("deletes_per_s", lambda: counts.deletes)
    yield Rate("watch_events_per_s", lambda: hub.events)
    yield Rate("proposals_per_s", lambda: node.commit_index)
    yield Rate("cpu_percent", time.process_time, factor=100)


def _traffic(methods: Methods) -> Iterator[Series]:
    counts = [method.counts for method in methods.values()]
    yield Rate("received_bytes_per_s", lambda: sum(one.received_bytes for one in counts))
    yield Rate("sent_bytes_per_s", lambda: sum(one.sent_bytes for one in counts))


def _durations(node: Node, methods: Methods, commits: Distribution) -> Iterator[Series]:
    for name, paths in (("read", _READS), ("write", _WRITES)):
        waits = [methods[path].counts.waits for path in paths]
        yield Percentiles(name, lambda waits=waits: waits)  # type: ignore[misc]
    yield Percentiles("wal_fsync", lambda: [node.statistics().fsync_seconds])
    yield Percentiles("backend_commit", lambda: [commits])


def _states(node: Node, machine: Machine, hub: Hub) -> Iterator[Series]:
    yield State("streams", lambda: hub.streams)
    yield State("watchers", lambda: hub.watchers)
    yield State("leases", lambda: len(machine.leases))
    yield State("applied_index", lambda: node.applied_index)
    yield State("lag_entries", lambda: node.commit_index - node.applied_index)
    yield State("db_size_bytes", lambda: machine.size)
    yield State("db_in_use_bytes", lambda: machine.size_in_use)
    yield State("rss_bytes", _resident)


def _resident() -> float:
    try:
        with open(_STATM, "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return math.nan  # (Without /proc, or with all file descriptors in use.)
