"""Small questions between members (lease renewals and the like), with an answer each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.base.supervised import Tasks
from rusd.raft.errors import (
    AnsweredWithError,
    AnswerTooLarge,
    ConnectionLost,
    RequestTimeout,
    Stopped,
    TooLarge,
    TooManyQuestions,
    UnknownQuestion,
)
from rusd.raft.ids import first_number
from rusd.raft.ports import Describe, undescribed
from rusd.raft.transport.frames import MAX_CARRIED, REQUEST, SMALL, Frame, PeerRequest, PeerResponse

log = get_logger(__name__)

#: Questions of others that are worked on at once; further ones are refused. Each is a task.
MOST_ANSWERS = 4096

#: Bytes of a question's body that fit into its frame.
MAX_BODY = REQUEST - SMALL
#: Answers a question: (asking member, body) -> body. What it raises is described to the asker.
Handler = Callable[[int, bytes], Awaitable[bytes]]
Send = Callable[[int, Frame], None]


class _Question(NamedTuple):
    """A question that this member waits to be answered."""

    member: int
    deadline: float
    answer: asyncio.Future[bytes]


class Asks:
    """Both sides of asking."""

    def __init__(
        self,
        send: Send,
        fail: Callable[[BaseException], None],
        describe: Describe = undescribed,
    ) -> None:
        """`fail`: see `Tasks`; an exception of a handler is an answer, and fails nothing."""
        self._send = send
        self._describe = describe
        self._number = first_number()
        self._open: dict[int, _Question] = {}
        self._handlers: dict[str, Handler] = {}
        self._tasks = Tasks(fail)

    def serve(self, kind: str, handler: Handler) -> None:
        self._handlers[kind] = handler

    async def ask(self, member: int, kind: str, body: bytes, deadline: float) -> bytes:
        """Raises AnsweredWithError, TooLarge, RequestTimeout, ConnectionLost or Stopped."""
        if len(body) > MAX_BODY:
            raise TooLarge
        self._number += 1
        number = self._number
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = _Question(member, deadline, future)
        self._send(member, PeerRequest(number, kind, body))
        try:
            return await future
        finally:
            del self._open[number]

    def asked(self, member: int, request: PeerRequest) -> None:
        """A member asks this one."""
        if len(self._tasks) >= MOST_ANSWERS:
            refusal = list[int | str](self._describe(TooManyQuestions()))
            self._send(member, PeerResponse(request.id, b"", refusal))
            return
        self._tasks.start(f"answer {request.kind} of {member:x}", self._answer(member, request))

    async def _answer(self, member: int, request: PeerRequest) -> None:
        body = b""
        error: list[int | str] = []
        handler = self._handlers.get(request.kind)
        try:
            if handler is None:
                raise UnknownQuestion(request.kind)
            body = await handler(member, request.body)
            if len(body) > MAX_CARRIED:
                raise AnswerTooLarge
        except Exception as failure:
            if not isinstance(failure, Refusal):
                log.exception("a member's question failed")
            body, error = b"", list(self._describe(failure))
        self._send(member, PeerResponse(request.id, body, error))

    def answered(self, member: int, response: PeerResponse) -> None:
        question = self._open.get(response.id)
        if question is None or question.member != member or question.answer.done():
            return
        future = question.answer
        error = response.error
        if len(error) == 2 and isinstance(error[0], int):
            future.set_exception(AnsweredWithError(error[0], str(error[1])))
        else:
            future.set_result(response.body)

    def lost(self, member: int) -> None:
        """A member's connection broke: its answers will not come."""
        self._fail(ConnectionLost, lambda question: question.member == member)

    def expire(self, now: float) -> None:
        """Gives up questions whose deadline has passed."""
        self._fail(RequestTimeout, lambda question: question.deadline <= now)

    def stop(self) -> None:
        """Fails all questions with Stopped, and drops those of others."""
        self._fail(Stopped, lambda question: True)
        self._tasks.cancel()

    def _fail(self, error: type[Refusal], which: Callable[[_Question], bool]) -> None:
        for question in self._open.values():
            if which(question) and not question.answer.done():
                question.answer.set_exception(error())
