"""Ports of the Raft room: the state machine it replicates, its log, and its state.

Raft carries payloads (opaque bytes) in entries; one entry holds all payloads proposed in one turn
of the event loop. It does not know what they mean. The state machine knows nothing of Raft but the
position (index, term) it stores with its data, in one atomic write, so that state and position
never differ.
"""

import errno
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """A place in the replicated log."""

    index: int  # type: ignore[assignment]  # a tuple's method of that name is not wanted here
    term: int


class Request(NamedTuple):
    """One proposed payload inside a committed entry."""

    payload: bytes
    #: True when a client of *this* member waits for the result; others need not be computed.
    wanted: bool


class Entry(NamedTuple):
    """One committed log entry. `requests` is empty for Raft's own no-op entries."""

    position: Position
    requests: Sequence[Request]


#: A payload whose first byte is this or higher is a ConfChange: it gets an entry of its own, and
#: only once the ConfChange before it is applied (`core/conf_change.py`).
CONF_CHANGE = 0xF0


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of the cluster. A change is in force once it is applied."""

    #: Members with a vote.
    voters: frozenset[int]
    #: Members that are sent the log and do not vote.
    learners: frozenset[int] = frozenset()
    #: Member id -> its peer URLs, for voters and learners.
    urls: Mapping[int, Sequence[str]] = field(default_factory=dict)
    #: Members that were removed, for good.
    removed: frozenset[int] = frozenset()
    #: Members that have served: what they acknowledged is on their disks.
    started: frozenset[int] = frozenset()


class Role(NamedTuple):
    """A member's part in a term."""

    #: Member id of the leader, 0 if none is known.
    leader: int
    term: int
    #: This member is the leader.
    leads: bool


#: (command, index, term) of an entry, as PySyncObj keeps them.
LogEntry = tuple[bytes, int, int]


class Log(Protocol):
    """The log as the core uses it: changes are in memory until a flush, which the core cannot do
    (`log/journal.py` implements both).
    """

    #: Index of the oldest and of the newest entry held; 0 if there is none.
    first_index: int
    last_index: int
    #: Last index that a flush made durable.
    durable_index: int
    #: Whether entries, term or vote wait for a flush.
    dirty: bool
    #: While true an open-ended slice gives one entry only (hazard 3, `core/filters.py`).
    shield: bool

    def term_at(self, index: int) -> int | None:
        """Returns the term of an entry, or None if the log does not hold it."""

    def entries(self, start: int, end: int) -> Sequence[LogEntry]:
        """Returns the entries with start <= index < end that the log holds."""

    def entries_from(self, start: int) -> Sequence[LogEntry]:
        """Returns the entries from index `start` on, a limited number of bytes; none if the log
        does not hold that one.
        """

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append an entry."""

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Note the commit index (in memory only)."""

    def getVotedForNodeId(self) -> str | None:
        """Returns the candidate voted for in the current term."""


class RaftState(Protocol):
    """Current state of this member's Raft algorithm."""

    @property
    def term(self) -> int:
        """The current term."""

    @property
    def leader(self) -> int:
        """Member id of the leader, 0 if none is known."""

    @property
    def is_leader(self) -> bool:
        """Whether this member leads the current term."""

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""

    @property
    def applied_index(self) -> int:
        """Highest index the state machine has applied."""

    @property
    def membership(self) -> Membership:
        """The current members."""


#: Work that yields between its slices; its value are the results.
Slices = Generator[None, None, list[object]]


class Unfinished(NamedTuple):
    """An apply that takes several slices."""

    slices: Slices
    #: Index of the last entry it applies.
    last: int


class CheckpointError(Exception):
    """A checkpoint cannot be moved beside the live state or opened there; that is unchanged."""


class Prepared(Protocol):
    """A checkpoint opened beside the live state. All methods but `install` do I/O: run them in a
    thread, one at a time, in the order commit, install, release; or discard.
    """

    @property
    def position(self) -> Position:
        """The last entry that the checkpoint contains."""

    def commit(self) -> None:
        """Let the next start find this state in place of the live one. Durable on return; a crash
        during the call leaves one of the two.
        """

    def install(self) -> None:
        """Replace the live state, on the loop. `Machine.positions()` are then those of this
        state.
        """

    def discard(self) -> None:
        """Remove this uncommitted state."""

    def release(self) -> None:
        """Remove the replaced state."""


class Machine(Protocol):
    """The replicated state machine (implemented by `rusd/state`)."""

    def positions(self) -> tuple[Position, Position]:
        """(last applied, the one before it). (1, 0) and (1, 0) for an empty state: PySyncObj's
        log begins with a sentinel at index 1, term 0.
        """

    def begin(self, entries: Sequence[Entry]) -> list[object] | Unfinished:
        """Apply entries in order, all of them or the first ones, as ONE atomic storage write
        together with the new positions, which tell how many there were.

        Returns one result per request, flattened over the entries in order: None where not
        wanted, else a value to hand to the waiter; an Exception instance is raised in the waiter.
        Long work instead gives a generator with the results as its value. Each step is a slice of
        work; nothing else is begun before it has ended. It is dropped when a `Prepared` is
        installed, or when the process ends, and the entries are applied again.
        Deterministic. An exception ends the process.
        """

    def apply(self, entries: Sequence[Entry]) -> list[object]:
        """Apply all entries at once, however long it takes."""

    def sync(self) -> None:
        """Make everything applied so far durable (called before the log is compacted)."""

    def checkpoint(self, directory: Path) -> bool:
        """Write a consistent copy of the whole state into the new directory `directory`.
        Synchronous and cheap (hard links). False: not now, since an apply is half done.
        """

    def prepare(self, checkpoint: Path) -> Prepared:
        """Take over the directory `checkpoint`, make it durable, and open it beside the live state,
        which is unchanged. Does I/O: run it in a thread. Raises CheckpointError, and leaves
        nothing behind then.
        """


#: Turns the error of a handler (`RaftNode.serve`) into a status code and a text, which cross to the
#: member that asked. Raft carries both and knows the meaning of neither.
Describe = Callable[[Exception], tuple[int, str]]


def undescribed(error: Exception) -> tuple[int, str]:
    """Describe any error as gRPC's UNKNOWN, for a node without rooms above."""
    return 2, str(error)


#: Called on the loop after leader or term changed: (leader member id or 0, term, am I the leader).
RoleListener = Callable[[int, int, bool], None]


class PeerTls(Protocol):
    """Contexts and checks of the peer port."""

    @property
    def server(self) -> ssl.SSLContext | None:
        """The context of https listeners; None without a certificate."""

    def client(self) -> ssl.SSLContext:
        """The context for one more connection to a peer."""

    def check_server(self, connection: ssl.SSLObject) -> None:
        """Check a dialled peer after the handshake. Raises an exception with the reason."""

    async def admit(self, connection: ssl.SSLObject, host: str) -> None:
        """Check an accepted peer at address `host` after the handshake.

        Raises an exception with the reason if it is refused.
        """

    def is_for(self, connection: ssl.SSLObject, host: str) -> bool:
        """Return whether an admitted peer has shown a certificate for `host` by a trusted
        authority.
        """

    @property
    def local_address(self) -> str:
        """The address to dial peers from, with TLS or without; empty: the system's choice."""


class WithoutTls:
    """The `PeerTls` of a member that neither listens on https nor dials it."""

    server: ssl.SSLContext | None = None
    local_address = ""

    def client(self) -> ssl.SSLContext:
        raise ConnectionError(errno.EPROTONOSUPPORT, "no TLS between members")

    def check_server(self, connection: ssl.SSLObject) -> None:
        raise NotImplementedError

    async def admit(self, connection: ssl.SSLObject, host: str) -> None:
        raise NotImplementedError

    def is_for(self, connection: ssl.SSLObject, host: str) -> bool:
        raise NotImplementedError


WITHOUT_TLS: PeerTls = WithoutTls()
