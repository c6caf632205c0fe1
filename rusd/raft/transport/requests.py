"""Requests between members on behalf of the rooms above (lease renewals and the like).

    PeerRequest {id, kind, body}     to one member
    PeerResponse {id, body, error}   of the handler of that kind

Nothing is repeated: a request fails when its deadline passes or its connection breaks, and may have
been served all the same. This room knows neither the kinds nor the bodies.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from rusd.base.errors import Refusal
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.supervised import Fail, Tasks
from rusd.raft.errors import (
    AnsweredWithError,
    AnswerTooLarge,
    ConnectionLost,
    MalformedQuestion,
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
malformed = LimitedLog(log)

#: Requests of one member that are worked on at once, and the bytes of their bodies; further ones
#: are refused with TooManyQuestions. Each is a task.
MAX_SERVED = 1024
MAX_SERVED_BYTES = 32 << 20

#: Bytes of a request's body that fit into its frame.
MAX_BODY = REQUEST - SMALL
#: Serves requests: (requesting member, body) -> body. What it raises is described to that member.
#: It decodes the body by `bodies.decoded_question`.
Handler = Callable[[int, bytes], Awaitable[bytes]]
Send = Callable[[int, Frame], None]


class _Sent(NamedTuple):
    """A request without a response."""

    member: int
    deadline: float
    answer: asyncio.Future[bytes]


class PeerRequests:
    """Requests sent and requests served."""

    def __init__(
        self,
        send: Send,
        fail: Fail,
        describe: Describe = undescribed,
    ) -> None:
        """`fail`: see `Tasks`. An exception of a handler becomes the response, and does not end the
        member.
        """
        self._send = send
        self._describe = describe
        self._number = first_number()
        self._open: dict[int, _Sent] = {}
        self._handlers: dict[str, Handler] = {}
        self._tasks = Tasks(fail)
        #: Member -> requests of it that are worked on, and the bytes of their bodies.
        self._served: Counter[int] = Counter()
        self._served_bytes: Counter[int] = Counter()

    def serve(self, kind: str, handler: Handler) -> None:
        """Serve requests of this kind."""
        self._handlers[kind] = handler

    async def ask(self, member: int, kind: str, body: bytes, deadline: float) -> bytes:
        """Send a request and return the response. Raises AnsweredWithError, TooLarge,
        RequestTimeout, ConnectionLost or Stopped.
        """
        if len(body) > MAX_BODY:
            raise TooLarge
        self._number += 1
        number = self._number
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = _Sent(member, deadline, future)
        self._send(member, PeerRequest(number, kind, body))
        try:
            return await future
        finally:
            # (It holds its exception, which holds this frame: a cycle.)
            del self._open[number], future

    def asked(self, member: int, request: PeerRequest) -> None:
        """Serve a request of another member."""
        size = len(request.body)
        full = (
            self._served[member] >= MAX_SERVED
            or self._served_bytes[member] + size > MAX_SERVED_BYTES
        )
        if full:
            refusal = list[int | str](self._describe(TooManyQuestions()))
            self._send(member, PeerResponse(request.id, b"", refusal))
            return
        self._served[member] += 1
        self._served_bytes[member] += size
        task = self._tasks.start(
            f"answer {request.kind} of {member:x}", self._answer(member, request)
        )
        task.add_done_callback(lambda _: self._ended(member, size))

    def _ended(self, member: int, size: int) -> None:
        self._served[member] -= 1
        self._served_bytes[member] -= size

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
            if isinstance(failure, MalformedQuestion):
                fields = {"peer": f"{member:x}", "error": str(failure)}
                malformed.warning("refused a member's request", fields, f"{member:x}")
            elif not isinstance(failure, Refusal):
                log.exception("a member's request failed")
            body, error = b"", list(self._describe(failure))
        self._send(member, PeerResponse(request.id, body, error))

    def answered(self, member: int, response: PeerResponse) -> None:
        sent = self._open.get(response.id)
        if sent is None or sent.member != member or sent.answer.done():
            return
        future = sent.answer
        error = response.error
        if len(error) == 2 and isinstance(error[0], int):
            future.set_exception(AnsweredWithError(error[0], str(error[1])))
        else:
            future.set_result(response.body)

    def lost(self, member: int) -> None:
        """Fail the requests to a member: its connection broke."""
        self._fail(ConnectionLost, lambda sent: sent.member == member)

    def expire(self, now: float) -> None:
        """Fail the requests whose deadline has passed."""
        self._fail(RequestTimeout, lambda sent: sent.deadline <= now)

    def stop(self) -> None:
        """Fail all sent requests with Stopped, and drop the received ones."""
        self._fail(Stopped, lambda sent: True)
        self._tasks.cancel()

    def _fail(self, error: type[Refusal], which: Callable[[_Sent], bool]) -> None:
        for sent in self._open.values():
            if which(sent) and not sent.answer.done():
                sent.answer.set_exception(error())
