"""Incarnations of members: the data directory a member runs on, and the count of its starts.

Raft relies on a member to remember its votes and acknowledgements. A removed data directory, an
older copy of one, and a second process on a copy all break that, and nothing in the log shows it.
So every directory gets a random id when it is made. Every start on it that another member hears of
gets the next number and a random nonce. A copy may be started more often than the original, so the
numbers alone do not tell them apart: an incarnation also names those before it on its directory,
and the one that a peer has recorded must be among them. A hello has room for MAX_PAST names: the
newest, or those from a given number backwards, which a peer that was away for longer needs.

    <member>/life          this member's own incarnation
    <member>/past-lives    names of more earlier ones than `life` holds; only if there are more
    <member>/lives         of each other member: the last incarnation, what it had acknowledged, and
                           which proposals its release can apply

Durability: `past-lives`, then `life`, is replaced and fsynced before the incarnation is sent for
the first time, and before a quarantine begins or ends. `lives` is replaced and fsynced before a
hello is accepted, and when what a member has acknowledged is recorded. `handshake.py` compares
them; nothing here knows of connections.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from rusd.base import durable

T = TypeVar("T")


class IncarnationsDamaged(Exception):
    """The file `life`, `past-lives` or `lives` cannot be read."""


class Mark(NamedTuple):
    """Position of a member's journal: its term and its last entry. Never goes back."""

    term: int = 0
    index: int = 0  # type: ignore[assignment]  # a tuple's method of that name is not wanted here


#: No member is started as many times.
MAX_NUMBER = 1 << 50
#: Bytes by which an incarnation names an earlier one, and how many it names: a hello is 1 KiB at
#: most.
PAST_BYTES, MAX_PAST = 4, 128
#: Names that a member keeps of its own past. If it was started more often while a peer was away, it
#: has to catch up for that peer.
MAX_KEPT = 65_536
#: How far a refusal may raise a member's number at once: a faulty peer must not exhaust it. Too low
#: a number is harmless: in quarantine any is accepted, and then recorded.
LEAP = 1 << 32


#: Which generation of proposals a member's release can apply (`rusd/state/command.py`).
Features = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class Incarnation(msgspec.Struct, frozen=True):
    """One start of a member."""

    #: Random, of the data directory.
    directory: int
    #: Counts the starts that another member heard of, on this directory and those it replaces.
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
    #: Random, of the process.
    nonce: int = 0
    #: Number of the last incarnation of the directory that this one replaced; 0: none.
    replaces: int = 0
    #: The disk may hold less than the member has acknowledged (`core/quarantine.py`).
    recovering: bool = False
    #: Earlier incarnations on this directory, newest first: the ends of their nonces.
    past: Annotated[bytes, msgspec.Meta(max_length=PAST_BYTES * MAX_PAST)] = b""

    def next(self) -> "Incarnation":
        """Returns the incarnation of the next start on this directory."""
        past = (self.name() + self.past)[: PAST_BYTES * MAX_PAST]
        return msgspec.structs.replace(self, number=self.number + 1, nonce=_random(), past=past)

    def follows(self, other: "Incarnation") -> bool:
        """Return whether `other` is this incarnation, or an earlier one on this directory."""
        names = (self.past[at : at + PAST_BYTES] for at in range(0, len(self.past), PAST_BYTES))
        return self.nonce == other.nonce or other.name() in names

    def name(self) -> bytes:
        """Return the name by which a later incarnation refers to this one."""
        return (self.nonce & 0xFFFFFFFF).to_bytes(PAST_BYTES, "big")


class _Past(msgspec.Struct, frozen=True):
    """Names of earlier incarnations on one directory."""

    directory: int
    #: Number of the first name.
    newest: Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
    #: Newest first; numbers on one directory have no gaps.
    names: Annotated[bytes, msgspec.Meta(max_length=PAST_BYTES * MAX_KEPT)]

    def before(self, life: Incarnation) -> bytes:
        """Returns the names before those that `life` holds; none if some between are missing: an
        earlier release, which does not keep them, ran for more than MAX_PAST starts.
        """
        skipped = self.newest - (life.number - 1 - len(life.past) // PAST_BYTES)
        if self.directory != life.directory or skipped < 0:
            return b""
        return self.names[PAST_BYTES * skipped :]


class PeerRecord(msgspec.Struct, frozen=True):
    """Durable record of another member."""

    incarnation: Incarnation = msgspec.field(name="life")
    #: What it acknowledged to this member as leader.
    acknowledged: Mark = Mark()
    #: Of its release; 0 for releases that do not say.
    features: Features = 0


class Incarnations:
    """The files in one member's directory."""

    def __init__(self, directory: Path) -> None:
        """Begin the next incarnation. It is recorded by `said`: a start that ends before it reaches
        another member leaves no trace, or a member that fails at start many times would have to
        catch up for it. Raises IncarnationsDamaged or OSError.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._own_path, self._peers_path = directory / "life", directory / "lives"
        self._past_path = directory / "past-lives"
        found = _read(self._own_path, Incarnation)
        past = _read(self._past_path, _Past)
        #: Names of all earlier incarnations on this directory, newest first.
        self._past = b""
        if found is None:
            self.own = Incarnation(_random(), 1, _random())
        else:
            self.own = found.next()
            names = found.name() + found.past + (past.before(found) if past is not None else b"")
            self._past = names[: PAST_BYTES * MAX_KEPT]
        self._kept = False
        self.peers: Mapping[int, PeerRecord] = _read(self._peers_path, dict[int, PeerRecord]) or {}

    def said(self, since: int | None = None) -> Incarnation:
        """Returns this incarnation, to be sent; durable on return. It names the newest earlier
        ones, or those from number `since` backwards. Raises OSError.
        """
        if not self._kept:
            self._keep_own()
        if since is None:
            return self.own
        first = PAST_BYTES * (self.own.number - 1 - since)
        return msgspec.structs.replace(
            self.own, past=self._past[first : first + PAST_BYTES * MAX_PAST]
        )

    def can_name(self, number: int) -> bool:
        """Return whether `said` names the earlier incarnation `number`, but only on request."""
        return MAX_PAST < self.own.number - number <= len(self._past) // PAST_BYTES

    def recover(self, after: int) -> None:
        """Begin recovering: the disk holds less than this member has acknowledged, in incarnations
        up to number `after`. The directory counts as another one, which has to catch up. Durable.
        Raises OSError.
        """
        number = max(min(after, self.own.number + LEAP), self.own.number)
        self.own = Incarnation(_random(), number + 1, self.own.nonce, number, recovering=True)
        self._past = b""
        self._keep_own()

    def recovered(self) -> None:
        """End recovering: this member has caught up. Durable. Raises OSError."""
        self.own = msgspec.structs.replace(self.own, recovering=False)
        self._keep_own()

    def record(self, member: int, incarnation: Incarnation, features: Features = 0) -> None:
        """Record the incarnation of another member. Durable. Raises OSError; then it is not
        recorded.
        """
        known = self.peers.get(member)
        incarnation = msgspec.structs.replace(incarnation, past=b"")
        same = known is not None and known.incarnation.directory == incarnation.directory
        acknowledged = known.acknowledged if known and same else Mark()
        record = PeerRecord(incarnation, acknowledged, features)
        if record != known:
            self._keep(member, record)

    def acknowledged(self, member: int, mark: Mark) -> None:
        """Record what another member has acknowledged. Durable. Raises OSError; then it is in
        memory only.
        """
        known = self.peers.get(member)
        if known is not None and known.acknowledged < mark:
            record = msgspec.structs.replace(known, acknowledged=mark)
            try:
                self._keep(member, record)
            except OSError:
                self.peers = {**self.peers, member: record}
                raise

    def _keep(self, member: int, record: PeerRecord) -> None:
        records = {**self.peers, member: record}
        durable.write(self._peers_path, msgspec.json.encode(records))
        self.peers = records

    def _keep_own(self) -> None:
        if len(self._past) > len(self.own.past):
            past = _Past(self.own.directory, self.own.number - 1, self._past)
            durable.write(self._past_path, msgspec.json.encode(past))
        durable.write(self._own_path, msgspec.json.encode(self.own))
        self._kept = True


def begin_recovering(directory: Path, after: int) -> None:
    """Prepare a directory for a member that had another one, in incarnations up to `after`."""
    number = min(after, LEAP)
    incarnation = Incarnation(_random(), number, replaces=number, recovering=True)
    durable.write(directory / "life", msgspec.json.encode(incarnation))


def end_recovering(directory: Path) -> None:
    """Let the member of a directory go on with what it holds, whatever it has acknowledged: an
    operator decided so (`--force-new-cluster`), and nobody is left to catch up from. Durable.
    """
    own = _read(directory / "life", Incarnation)
    if own is not None and own.recovering:
        settled = msgspec.structs.replace(own, recovering=False)
        durable.write(directory / "life", msgspec.json.encode(settled))


def _random() -> int:
    return secrets.randbits(63)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise IncarnationsDamaged(f"{path} is damaged: {error}") from error
