"""Incarnations of members: the data directory a member runs on, and the count of its starts.

Raft trusts that a member remembers its votes and acknowledgements. A removed data directory, an
older copy of one, and a second process on a copy all break that, and nothing in the log shows it.
So every directory gets a random id when it is made, and every start on it that others hear of the
next number and a random one. A copy may be started more often than the original, so the numbers
alone do not tell them apart: a life also names those before it on its directory, and one that was
met must be among them.

    <member>/life      this member's own: directory, number, replaces, recovering
    <member>/lives     of each other member: the last life met, and what it had acknowledged

Both are durable before anything is said or believed on their strength. What they are compared for
is in `handshake.py`.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from rusd.base import durable

T = TypeVar("T")


class IncarnationsDamaged(Exception):
    """A file of lives cannot be read."""


class Mark(NamedTuple):
    """How far a member's journal is: its term, and its last entry. Never goes back."""

    term: int = 0
    index: int = 0  # type: ignore[assignment]  # a tuple's method of that name is not wanted here


#: No member is started as many times.
MAX_NUMBER = 1 << 50
#: Bytes by which a life names one before it, and how many it names at most: a hello is 1 KiB at
#: most. A member with more starts in a row that no peer saw has to catch up.
PAST_BYTES, MOST_PAST = 4, 128
#: How far others may take a member's number at once. They may lie, and it must not come to its end.
#: Too few is no harm: in quarantine it is accepted with any, and then known by it.
LEAP = 1 << 32


class Incarnation(msgspec.Struct, frozen=True):
    """One start of a member."""

    #: Random, of the data directory.
    directory: int
    #: How many starts of the directory others heard of, and those it replaces.
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
    #: Random, of the process.
    nonce: int = 0
    #: Number of the last life of the directory that this one took the place of; 0: none.
    replaces: int = 0
    #: The disk may hold less than the member has acknowledged (`quarantine.py`).
    recovering: bool = False
    #: The lives before it on this directory, the newest first: the ends of their nonces.
    past: Annotated[bytes, msgspec.Meta(max_length=PAST_BYTES * MOST_PAST)] = b""

    def next(self) -> "Incarnation":
        """The life of the next start on this directory."""
        past = (self._name() + self.past)[: PAST_BYTES * MOST_PAST]
        return msgspec.structs.replace(self, number=self.number + 1, nonce=_random(), past=past)

    def follows(self, other: "Incarnation") -> bool:
        """Whether `other` is this life, or one before it on this directory."""
        names = (self.past[at : at + PAST_BYTES] for at in range(0, len(self.past), PAST_BYTES))
        return self.nonce == other.nonce or other._name() in names

    def _name(self) -> bytes:
        return (self.nonce & 0xFFFFFFFF).to_bytes(PAST_BYTES, "big")


class Met(msgspec.Struct, frozen=True):
    """What is remembered of another member."""

    life: Incarnation
    #: It acknowledged to hold this, when this member led.
    acknowledged: Mark = Mark()


class Incarnations:
    """The two files of one member's directory."""

    def __init__(self, directory: Path) -> None:
        """Begin the next life. It counts from `said` on: a start that ends before it meets anybody
        leaves no trace, else a member that fails at start many times had to catch up for it.
        IncarnationsDamaged, OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self._own_path, self._met_path = directory / "life", directory / "lives"
        found = _read(self._own_path, Incarnation)
        self.own = Incarnation(_random(), 1, _random()) if found is None else found.next()
        self._kept = False
        self.met: Mapping[int, Met] = _read(self._met_path, dict[int, Met]) or {}

    def said(self) -> Incarnation:
        """This life, for others to hear: durable before. OSError."""
        if not self._kept:
            self._keep_own()
        return self.own

    def recover(self, after: int) -> None:
        """The disk holds less than this member has said, in lives up to number `after`: from now
        on it is another directory, which has to catch up."""
        number = max(min(after, self.own.number + LEAP), self.own.number)
        self.own = Incarnation(_random(), number + 1, self.own.nonce, number, recovering=True)
        self._keep_own()

    def recovered(self) -> None:
        """It caught up."""
        self.own = msgspec.structs.replace(self.own, recovering=False)
        self._keep_own()

    def meet(self, member: int, life: Incarnation) -> None:
        """Another member is in this life now. OSError: that is not remembered."""
        known = self.met.get(member)
        life = msgspec.structs.replace(life, past=b"")
        if known is None or known.life != life:
            same = known is not None and known.life.directory == life.directory
            self._keep(member, Met(life, known.acknowledged if known and same else Mark()))

    def acknowledged(self, member: int, mark: Mark) -> None:
        """Another member holds this. OSError: that is remembered by this process only."""
        known = self.met.get(member)
        if known is not None and known.acknowledged < mark:
            met = Met(known.life, mark)
            try:
                self._keep(member, met)
            except OSError:
                self.met = {**self.met, member: met}
                raise

    def _keep(self, member: int, met: Met) -> None:
        all_met = {**self.met, member: met}
        durable.write(self._met_path, msgspec.json.encode(all_met))
        self.met = all_met

    def _keep_own(self) -> None:
        durable.write(self._own_path, msgspec.json.encode(self.own))
        self._kept = True


def begin_recovering(directory: Path, after: int) -> None:
    """Make a directory whose member had another one before, in lives up to number `after`."""
    number = min(after, LEAP)
    life = Incarnation(_random(), number, replaces=number, recovering=True)
    durable.write(directory / "life", msgspec.json.encode(life))


def _random() -> int:
    return secrets.randbits(63)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise IncarnationsDamaged(f"{path} is damaged: {error}") from error
