"""Answers that the gateway holds for its clients, bounded for all of them together.

Three accounts, so that none of these clients waits for those of another kind:

- Long answers to reads of many keys are made one at a time, in the order of their calls, and none
  while those that are not sent yet hold more than `ANSWER_MEMORY`: all of them hold this and one
  answer at most. An answer of which its client takes less than a sixteenth a second for
  `SLOW_SECONDS`, while calls wait, is cut off.
- Other long answers, such as one large value, never wait. When they hold more than
  `ANSWER_MEMORY`, the one that has not moved for longest is cut off.
- Streams with unread messages count as full while the messages of all streams hold more than
  `STREAM_MEMORY`.

An answer is cut off by cancelling its page, which ends the connection (HTTP/2: the stream).
"""

import asyncio
from collections import OrderedDict

from rusd.base.chunks import Encoded, size_of
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.pending import Pending
from rusd.door.gateway.json_pieces import PIECE

#: Bytes of long answers that are not sent yet, of each of two kinds.
ANSWER_MEMORY = 32 << 20
#: Bytes of messages that wait on streams.
STREAM_MEMORY = 32 << 20
#: Seconds for which a client may take little of its answer while other calls wait.
SLOW_SECONDS = 3
#: The part of an answer that its client must take in a second.
MOVED_PART = 16

cut_off = LimitedLog(get_logger(__name__))


class StreamMemory:
    """Counts the bytes of messages that wait on streams."""

    def __init__(self, limit: int = STREAM_MEMORY) -> None:
        self._limit = limit
        self._held = 0

    @property
    def tight(self) -> bool:
        """Whether streams with unread messages should be given no more."""
        return self._held > self._limit

    def take(self, size: int) -> None:
        """Count a message of `size` bytes that waits for its client."""
        self._held += size

    def release(self, size: int) -> None:
        """Uncount `size` bytes that were sent or dropped."""
        self._held -= size


class Answer:
    """The answer to one call, from the call to the last byte that its client takes."""

    __slots__ = ("_account", "_memory", "_page", "moved", "result", "size", "slow")

    def __init__(self, memory: "AnswerMemory") -> None:
        # (The rest is set of long answers only: most are short.)
        self._memory = memory
        self._account: Account | None = None
        #: Of the service, if it is to come.
        self.result: Pending[Encoded] | None = None
        self.size = 0

    def wait(self, *, small: bool = False) -> Pending[None] | None:
        """See `rusd/rpc/call.py` `WaitWritable`."""
        if small:
            return None
        turn = self._memory.turn(self)
        result, self.result = self.result, None
        if result is not None:
            result.add_done_callback(self._settled)
        return turn

    def _settled(self, result: Pending[Encoded]) -> None:
        """Count the response of the service before another one is made."""
        if self._memory.makes(self):
            if result.cancelled() or result.exception() is not None:
                self.release()
            else:
                self.made(result.result())

    def made(self, encoded: Encoded) -> None:
        """Count `encoded` if it is long."""
        if self._account is None:
            size = size_of(encoded)
            if size > PIECE:
                self.size = size
                self._page: asyncio.Task[object] | None = None
                #: Bytes that the client took since the last check; checks at which these were few.
                self.moved = self.slow = 0
                self._account = self._memory.account(self)
                self._account.add(self)
            self._memory.ended(self)

    def sent_by(self, page: "asyncio.Task[object] | None") -> None:
        """Record that `page` sends the answer."""
        self._page = page
        self._memory.check()

    def take(self, size: int) -> None:
        """Count `size` bytes for which the client has room."""
        self.moved += size
        if self._account is not None:
            self._account.move(self)

    def release(self) -> None:
        """Uncount the answer. May be called again."""
        account, self._account = self._account, None
        if account is not None:
            self._page = None
            account.remove(self)
        self._memory.ended(self)

    def cut_off(self) -> bool:
        """Cancel the page; returns whether there is one to cancel."""
        page = self._page
        if page is None:
            return False
        cut_off.warning("cut off an answer that is not read", {"bytes": self.size})
        self.release()
        page.cancel()
        return True


class Account:
    """Answers of one kind, the one that moved last at the end."""

    def __init__(self) -> None:
        self.held = 0
        self.answers: OrderedDict[Answer, None] = OrderedDict()

    def add(self, answer: Answer) -> None:
        self.held += answer.size
        self.answers[answer] = None

    def move(self, answer: Answer) -> None:
        self.answers.move_to_end(answer)

    def remove(self, answer: Answer) -> None:
        self.held -= answer.size
        del self.answers[answer]


class AnswerMemory:
    """Long answers of one gateway."""

    def __init__(self, limit: int = ANSWER_MEMORY) -> None:
        self._limit = limit
        #: Answers whose calls wait for their turn, and others.
        self._ordered = Account()
        self._others = Account()
        self._making: Answer | None = None
        self._waiting: OrderedDict[Answer, Pending[None]] = OrderedDict()
        self._checking: asyncio.TimerHandle | None = None

    def turn(self, answer: Answer) -> Pending[None] | None:
        """Return None if `answer` may be made now; else a result that is set when it may."""
        if self._making is answer:
            return None
        if self._making is None and self._ordered.held <= self._limit:
            self._making = answer
            return None
        turn: Pending[None] = Pending()
        self._waiting[answer] = turn
        if self._checking is None:
            self._checking = asyncio.get_running_loop().call_later(1, self.check_slow)
        return turn

    def makes(self, answer: Answer) -> bool:
        """Return whether `answer` is the one that is made now."""
        return self._making is answer

    def account(self, answer: Answer) -> Account:
        """Return the account that `answer` belongs to."""
        return self._ordered if self._making is answer else self._others

    def ended(self, answer: Answer) -> None:
        """Remove `answer` from those that are made or wait; begin the next."""
        if self._making is answer:
            self._making = None
        else:
            self._waiting.pop(answer, None)
        if self._waiting and self._making is None and self._ordered.held <= self._limit:
            self._making, turn = self._waiting.popitem(last=False)
            turn.set_result(None)

    def check(self) -> None:
        """Cut off what has not moved for longest if answers that did not wait hold too much."""
        others = self._others
        while others.held > self._limit and len(others.answers) > 1:
            if not next(iter(others.answers)).cut_off():
                break

    def check_slow(self) -> None:
        """Cut off slow clients, those that moved last at the end, until a call may go on."""
        self._checking = None
        for answer in list(self._ordered.answers):
            slow = self._waiting and answer.moved * MOVED_PART < answer.size
            answer.slow = answer.slow + 1 if slow else 0
            answer.moved = 0
        # (The first release that makes room lets a call go on: `_making` is set then.)
        for answer in list(self._ordered.answers):
            if self._waiting and self._making is None and answer.slow >= SLOW_SECONDS:
                answer.cut_off()
        if self._waiting:
            self._checking = asyncio.get_running_loop().call_later(1, self.check_slow)
