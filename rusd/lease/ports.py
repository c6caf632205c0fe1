"""Ports of the lease room: the Raft node and the replicated leases."""

from collections.abc import Iterator
from typing import Protocol

from rusd.raft.interface import Indexes, PeerCalls, Proposer, ReadIndex, Role


class Node(Role, Indexes, Proposer, ReadIndex, PeerCalls, Protocol):
    """The parts of the Raft node that the lessor uses."""


class LeaseRecord(Protocol):
    """The replicated record of one lease."""

    @property
    def id(self) -> int:
        """Any int64 but 0."""

    @property
    def ttl(self) -> int:
        """Granted time to live in seconds."""

    @property
    def remaining_ttl(self) -> int:
        """Seconds left at the last checkpoint; 0 if there was none since the last renewal."""


class LeaseRecords(Protocol):
    """All replicated leases."""

    def get(self, lease_id: int) -> LeaseRecord | None:
        """Returns a lease, or None if absent."""

    def __iter__(self) -> Iterator[LeaseRecord]:
        """All leases, in no particular order."""
