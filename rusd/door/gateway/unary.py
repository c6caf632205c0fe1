"""Unary calls over HTTP: one JSON object in, one out."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from rusd.base.chunks import Chunks, Encoded, whole
from rusd.base.pending import Pending
from rusd.base.worker import Worker
from rusd.door.gateway import answers
from rusd.door.gateway.json_pieces import PIECE
from rusd.door.gateway.memory import Answer
from rusd.door.gateway.method_json import MethodJson
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import (
    CANCELED,
    DEADLINE_EXCEEDED,
    STOPPED,
    Code,
    EtcdError,
)
from rusd.rpc.methods import Unary
from rusd.rpc.pages import Later, PageResponse, Respond

#: Bytes of a JSON text that is read at once; a longer one is read in a thread.
AT_ONCE = 64 << 10
#: Bytes of a response that is rendered at once when it has come.
SHORT = 512


class UnaryCall:
    """Calls of one method."""

    def __init__(self, json: MethodJson, thread: Worker) -> None:
        """`thread` reads long texts."""
        self._json = json
        self._thread = thread

    def begin(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        caller: Caller,
        later: Later,
        respond: Respond,
    ) -> "RunningCall":
        """Call the method with the short body `text`; `respond` gets the response."""
        running = RunningCall(self._json, method, later, respond)
        running.read(text, metadata, None, caller)
        return running

    async def run(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        timeout: float | None,
        caller: Caller,
        later: Later,
    ) -> PageResponse:
        """Return the response to a request with the body `text`."""
        response: Pending[PageResponse] = Pending()
        running = RunningCall(self._json, method, later, response.set_result)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                if len(text) <= AT_ONCE:
                    running.read(text, metadata, deadline, caller)
                else:
                    await self._read_in_thread(running, text, metadata, deadline, caller)
                return await response
        except TimeoutError:
            running.cancel(DEADLINE_EXCEEDED.code)
            return answers.refusal(DEADLINE_EXCEEDED)
        except BaseException:
            running.cancel()
            raise

    async def _read_in_thread(
        self,
        running: "RunningCall",
        text: bytes,
        metadata: dict[str, str],
        deadline: float | None,
        caller: Caller,
    ) -> None:
        try:
            request, raw = await self._thread.run(lambda: self._json.request(text))
        except EtcdError as error:
            running.fail(error)
        else:
            running.call(request, raw, metadata, deadline, caller)


class RunningCall:
    """One call, from its request to its response; without a task, as for gRPC."""

    __slots__ = ("_answer", "_json", "_later", "_method", "_pending", "_respond")

    def __init__(self, json: MethodJson, method: Unary, later: Later, respond: Respond) -> None:
        """`later`: for rendering what is not short, of a result that wakes many calls."""
        self._json = json
        self._method = method
        self._later = later
        #: None once the call has ended.
        self._respond: Respond | None = respond
        self._answer = Answer(json.answers)
        #: The service's response to come.
        self._pending: Any = None
        method.counts.start()

    def read(
        self, text: bytes, metadata: dict[str, str], deadline: float | None, caller: Caller
    ) -> None:
        """Call the method with the request in `text`."""
        try:
            request, raw = self._json.request(text)
        except EtcdError as error:
            self.fail(error)
        else:
            self.call(request, raw, metadata, deadline, caller)

    def call(
        self,
        request: Any,
        raw: bytes,
        metadata: dict[str, str],
        deadline: float | None,
        caller: Caller,
    ) -> None:
        """Call the method. `raw`: the encoded request."""
        try:
            call = Call(metadata, raw, deadline, caller, self._answer.wait)
            result: Any = self._method.call(request, call)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.fail(error)
            return
        if isinstance(result, bytes | Chunks):
            self._made(result, woken=False)
            return
        if isinstance(result, Pending):
            self._answer.result = result
        elif not isinstance(result, asyncio.Future):
            result = asyncio.ensure_future(result)
        self._pending = result
        result.add_done_callback(self._done)

    def _done(self, pending: Any) -> None:
        self._answer.result = self._pending = None
        if self._respond is None:
            if not pending.cancelled():
                pending.exception()  # retrieved: asyncio warns about unretrieved ones
            return
        try:
            encoded = pending.result()
        except asyncio.CancelledError:
            # The service cancelled the response: the member stops, and the client must learn it.
            self._end(STOPPED.code, answers.refusal(STOPPED))
        except BaseException as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.fail(error)
            # Its frames hold `pending`, which holds it: a cycle.
            error.__traceback__ = None
        else:
            self._made(encoded, woken=True)

    def _made(self, encoded: Encoded, *, woken: bool) -> None:
        answer = self._answer
        answer.made(encoded)
        if answer.size:
            self._end(Code.OK, answers.answer(_Long(self._json.pieces(encoded), answer)))
            return
        short = whole(encoded)
        if woken and len(short) > SHORT:
            self._later(partial(self._render, short))
        else:
            self._render(short)

    def _render(self, encoded: bytes) -> None:
        if self._respond is None:
            return
        try:
            text = self._json.text(encoded)
        except Exception as error:  # noqa: BLE001
            # A fault here: ends this call only.
            self.fail(error)
        else:
            self._end(Code.OK, answers.answer(text))

    def fail(self, error: BaseException) -> None:
        """End the call with a refusal, or because of a fault."""
        refusal = self._json.told(error)
        self._end(refusal.code, answers.refusal(refusal))

    def _end(self, code: int, response: PageResponse) -> None:
        respond, self._respond = self._respond, None
        self._method.counts.finish(code)
        if isinstance(response.body, bytes):
            self._answer.release()
        if respond is not None:
            respond(response)

    def cancel(self, code: int = CANCELED.code) -> bool:
        """End the call without a response; False if it has ended."""
        # (A response may be dropped on its way to a task that is cancelled.)
        self._answer.release()
        if self._respond is None:
            return False
        self._respond = None
        self._method.counts.finish(code)
        if self._pending is not None:
            self._pending.cancel()
        return True


class _Long(AsyncIterator[bytes]):
    """The body of a long response, generated as its client reads it."""

    def __init__(self, pieces: Iterator[bytes], answer: Answer) -> None:
        self._pieces = pieces
        #: The rest of a piece: one value may be long.
        self._rest = memoryview(b"")
        self._answer = answer
        self._begun = False

    async def __anext__(self) -> bytes:
        if not self._begun:
            self._begun = True
            self._answer.sent_by(asyncio.current_task())
        # (The client may read as fast as pieces are made.)
        await asyncio.sleep(0)
        if not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                raise StopAsyncIteration
            self._rest = memoryview(piece)
        # (TLS keeps as much memory for a connection as was once written to it at a time.)
        part, self._rest = bytes(self._rest[:PIECE]), self._rest[PIECE:]
        self._answer.take(len(part))
        return part

    async def aclose(self) -> None:
        """The body has ended, or the client disconnected."""
        self._answer.release()
        self._pieces = iter(())
        self._rest = memoryview(b"")
