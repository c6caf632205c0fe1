"""Settings of one Raft member. Defaults are etcd's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rusd.raft.ports import WITHOUT_TLS, Membership, PeerTls


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Identity, first membership, directories, timeouts and log limits of one member."""

    member_id: int
    cluster_id: int
    #: Member id -> its peer URLs, this member included.
    peers: Mapping[int, Sequence[str]]
    #: Holds the journal (`wal/`), incarnations and snapshots under way.
    directory: Path
    listen_peer_urls: Sequence[str]
    heartbeat_ms: int = 100
    election_ms: int = 1000
    #: The first election after the start need not wait an election timeout.
    first_election_soon: bool = True
    #: Applied entries between two compactions of the log.
    snapshot_count: int = 10_000
    #: Entries kept behind the applied index for members that lag.
    catchup_entries: int = 5_000
    #: Seconds from which an apply is logged and counted as slow.
    slow_apply: float = 0.1
    unsafe_no_fsync: bool = False
    #: Those of `peers` that have no vote.
    learners: frozenset[int] = frozenset()
    #: Members that were removed from the cluster, for good.
    removed: frozenset[int] = frozenset()
    #: Members that have served.
    started: frozenset[int] = frozenset()
    #: This member joins a cluster: it has no state before its first snapshot.
    joining: bool = False
    #: The newest generation of proposals that this release applies; told to the others.
    features: int = 0
    #: TLS of https peer URLs.
    tls: PeerTls = WITHOUT_TLS
    #: Share the peer ports with other sockets (SO_REUSEPORT).
    reuse_port: bool = False
    #: Directory of the journal, if not `directory / "wal"`.
    wal_directory: Path | None = None

    @property
    def membership(self) -> Membership:
        """The membership to begin with."""
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
        """Seconds after which a proposal or read fails: 5 s and 2 election timeouts."""
        return 5 + 2 * self.election
