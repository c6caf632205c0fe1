"""Linearizable reads on any member: who waits for what.

Reads of one turn travel together: the leader opens one round for them (`read_index.py`), a follower
sends one question to the leader; with the confirmed index they wait until it is applied here. A
question that stays unanswered, or a round that leadership was lost over, is asked again until the
read's deadline. No clock, no socket: the node calls in with the time and sends what it is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

#: Seconds after which a follower asks the leader again.
RETRY = 0.5
#: Reads that are let go at a time. Each is served there and then, and a thousand long ones would
#: hold up heartbeats.
PORTION = 128


@dataclass(slots=True, frozen=True)
class Read:
    """A call that waits to read."""

    #: Called once: with None when it may read, or with an exception.
    done: Callable[[Exception | None], None]
    deadline: float


class _Question(NamedTuple):
    reads: list[Read]
    asked_at: float


class Reads:
    """This member's waiting reads."""

    def __init__(self) -> None:
        self._new: list[Read] = []
        self._questions: dict[int, _Question] = {}
        self._last_question = 0
        #: Confirmed: (read index, reads), waiting to be applied.
        self._confirmed: list[tuple[int, list[Read]]] = []
        #: These may go, a portion at a time.
        self._ready: list[Read] = []

    def add(self, read: Read) -> None:
        self._new.append(read)

    def pending(self) -> bool:
        """True if reads wait to be asked about."""
        return bool(self._new)

    def take(self) -> list[Read]:
        """The reads to be asked about now."""
        taken, self._new = self._new, []
        return taken

    def ask(self, now: float) -> int:
        """The waiting reads are put to the leader in one question; returns its number."""
        self._last_question += 1
        self._questions[self._last_question] = _Question(self.take(), now)
        return self._last_question

    def answered(self, number: int, index: int) -> None:
        """The leader confirmed `index` for a question."""
        question = self._questions.pop(number, None)
        if question is not None:
            self.confirmed(index, question.reads)

    def confirmed(self, index: int | None, reads: list[Read]) -> None:
        """`index` is confirmed for these reads; None: ask again."""
        if index is None:
            self._new += reads
        else:
            self._confirmed.append((index, reads))

    def ask_again(self, now: float, *, everything: bool = False) -> None:
        """Questions without an answer (all of them after a leader change) are put anew."""
        for number, question in list(self._questions.items()):
            if everything or now - question.asked_at > RETRY:
                del self._questions[number]
                self._new += question.reads

    def applied(self, index: int) -> None:
        """Everything up to `index` is applied: reads that waited for it may go, the first
        `PORTION` of them now."""
        if self._confirmed:
            for wanted, reads in self._confirmed:
                if wanted <= index:
                    self._ready += reads
            self._confirmed = [one for one in self._confirmed if one[0] > index]
        if self._ready:
            portion, self._ready = self._ready[:PORTION], self._ready[PORTION:]
            for read in portion:
                read.done(None)

    @property
    def more(self) -> bool:
        """Whether reads that may go wait for the next portion."""
        return bool(self._ready)

    def expire(self, now: float, error: Exception) -> None:
        """Give up reads whose deadline has passed."""

        def alive(reads: list[Read]) -> list[Read]:
            late = [read for read in reads if read.deadline <= now]
            for read in late:
                read.done(error)
            return [read for read in reads if read.deadline > now] if late else reads

        self._new = alive(self._new)
        self._ready = alive(self._ready)
        self._confirmed = [(index, alive(reads)) for index, reads in self._confirmed]
        self._questions = {
            number: _Question(alive(question.reads), question.asked_at)
            for number, question in self._questions.items()
        }

    def fail(self, error: Exception) -> None:
        self.expire(float("inf"), error)
