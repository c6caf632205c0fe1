"""Linearizable reads on any member: who waits for what.

Reads of one turn travel together: the leader opens one round for them (`read_index.py`), a follower
sends one question to the leader; with the confirmed index they wait until it is applied here. No
clock, no socket: the node calls in with the time and sends what it is told.

A question without an answer is repeated under the same number until its reads' deadlines. The first
answer serves them, whichever copy it belongs to and whichever leader sent it: each leader confirms
an index that is not older than anything acknowledged before it received the question. A slow link
therefore delays reads, and never starves them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rusd.base.errors import Refusal
from rusd.raft.ids import first_number

#: Seconds after which a follower repeats a question to the leader.
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


@dataclass(slots=True)
class _Question:
    reads: list[Read]
    asked_at: float


class Reads:
    """This member's waiting reads."""

    def __init__(self) -> None:
        self._new: list[Read] = []
        #: Without an answer, by number.
        self._questions: dict[int, _Question] = {}
        #: Numbers of questions that are to be repeated.
        self._again: list[int] = []
        self._last_question = first_number()
        #: Confirmed: (read index, reads), waiting to be applied.
        self._confirmed: list[tuple[int, list[Read]]] = []
        #: These may go, a portion at a time.
        self._ready: list[Read] = []

    def add(self, read: Read) -> None:
        self._new.append(read)

    def pending(self) -> bool:
        """True if reads wait for a leader to be asked, or asked again."""
        return bool(self._new or self._again)

    def take(self) -> list[Read]:
        """All reads without a confirmed index, for a leader to confirm itself."""
        taken = [read for question in self._questions.values() for read in question.reads]
        taken += self._new
        self._new, self._again = [], []
        self._questions.clear()
        return taken

    def ask(self, now: float) -> list[int]:
        """Returns the numbers of the questions to send to the leader: those to be repeated, and
        one for all new reads."""
        numbers = [number for number in self._again if number in self._questions]
        self._again = []
        for number in numbers:
            self._questions[number].asked_at = now
        if self._new:
            self._last_question += 1
            self._questions[self._last_question] = _Question(self._new, now)
            self._new = []
            numbers.append(self._last_question)
        return numbers

    def answered(self, number: int, index: int) -> None:
        """A leader confirmed `index` for a question."""
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
        """Repeat questions without an answer for RETRY (all of them after a leader change)."""
        if everything:
            for question in self._questions.values():
                question.asked_at = float("-inf")
        self._again = [
            number
            for number, question in self._questions.items()
            if now - question.asked_at > RETRY
        ]

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

    def expire(self, now: float, error: type[Refusal]) -> None:
        """Give up reads whose deadline has passed."""

        def alive(reads: list[Read]) -> list[Read]:
            late = [read for read in reads if read.deadline <= now]
            for read in late:
                read.done(error())
            return [read for read in reads if read.deadline > now] if late else reads

        self._new = alive(self._new)
        self._ready = alive(self._ready)
        self._confirmed = [(index, alive(reads)) for index, reads in self._confirmed]
        for number, question in list(self._questions.items()):
            question.reads = alive(question.reads)
            if not question.reads:
                del self._questions[number]

    def fail(self, error: type[Refusal]) -> None:
        self.expire(float("inf"), error)
