"""What the Raft room is told at start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rusd.raft.ports import Membership


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """One member's view of the cluster and its own limits."""

    member_id: int
    cluster_id: int
    #: Member id -> its peer URLs, this member included.
    peers: Mapping[int, Sequence[str]]
    #: Holds the journal (`wal/`) and snapshots under way.
    directory: Path
    listen_peer_urls: Sequence[str]
    heartbeat_ms: int = 100
    election_ms: int = 1000
    #: The log is compacted each time so many entries were applied.
    snapshot_count: int = 10_000
    #: Entries kept behind the applied index for members that lag.
    catchup_entries: int = 5_000
    unsafe_no_fsync: bool = False
    #: Those of `peers` that have no vote.
    learners: frozenset[int] = frozenset()
    #: Members that were removed from the cluster, for good.
    removed: frozenset[int] = frozenset()
    #: Members that have served.
    started: frozenset[int] = frozenset()
    #: The state is still to come, from the cluster this member joins.
    joining: bool = False
    #: Where the journal lies, if not in `directory / "wal"`.
    wal_directory: Path | None = None

    @property
    def membership(self) -> Membership:
        """Who replicates, to begin with."""
        return Membership(
            frozenset(self.peers) - self.learners,
            self.learners,
            self.peers,
            self.removed,
            self.started,
        )

    @property
    def election(self) -> float:
        """Election timeout, seconds."""
        return self.election_ms / 1000

    @property
    def heartbeat(self) -> float:
        """Heartbeat interval, seconds."""
        return self.heartbeat_ms / 1000

    @property
    def request_timeout(self) -> float:
        """Seconds after which a proposal or read is given up (etcd: 5 s + 2 election timeouts)."""
        return 5 + 2 * self.election
