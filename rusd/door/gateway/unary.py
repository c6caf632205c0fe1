"""Unary calls over HTTP: one JSON object in, one out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from rusd.base.chunks import Chunks, Encoded
from rusd.base.pending import Pending
from rusd.base.worker import Worker
from rusd.door.gateway import answers
from rusd.door.gateway.memory import Answer
from rusd.door.gateway.method_json import MethodJson
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import (
    CANCELED,
    DEADLINE_EXCEEDED,
    STOPPED,
    Code,
)
from rusd.rpc.methods import Unary
from rusd.rpc.pages import PageResponse

#: Bytes of a JSON text that is read at once; a longer one is read in a thread.
AT_ONCE = 64 << 10


class UnaryCall:
    """Calls of one method."""

    def __init__(self, json: MethodJson, thread: Worker) -> None:
        """`thread` reads long texts."""
        self._json = json
        self._thread = thread

    async def run(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        timeout: float | None,
        caller: Caller,
    ) -> PageResponse:
        """Return the response to a request with the body `text`."""
        code = CANCELED.code
        counts = method.counts
        counts.start()
        answer = Answer(self._json.answers)
        response = None
        try:
            if timeout is None:
                encoded = await self._call(method, text, metadata, None, caller, answer)
            else:
                deadline = asyncio.get_running_loop().time() + timeout
                async with asyncio.timeout_at(deadline):
                    encoded = await self._call(method, text, metadata, deadline, caller, answer)
            response = self._answer(encoded, answer)
            code = Code.OK
        except TimeoutError:
            code = DEADLINE_EXCEEDED.code
            return answers.refusal(DEADLINE_EXCEEDED)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            code, response = self._refused(error)
        finally:
            counts.finish(code)
            if response is None or isinstance(response.body, bytes):
                answer.release()
        return response

    def _refused(self, error: Exception) -> tuple[Code, PageResponse]:
        # (Not in the frame of a call: the error holds that, which would hold the error.)
        refusal = self._json.told(error)
        return refusal.code, answers.refusal(refusal)

    async def _call(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        deadline: float | None,
        caller: Caller,
        answer: Answer,
    ) -> Encoded:
        if len(text) <= AT_ONCE:
            request, raw = self._json.request(text)
        else:
            request, raw = await self._thread.run(lambda: self._json.request(text))
        call = Call(metadata, raw, deadline, caller, answer.wait)
        result = method.call(request, call)
        if isinstance(result, bytes | Chunks):
            return result
        try:
            if isinstance(result, Pending):
                answer.result = result
            return await _outcome(result)
        finally:
            answer.result = None
            del result  # it may hold its exception, which holds this frame: a cycle

    def _answer(self, encoded: Encoded, answer: Answer) -> PageResponse:
        answer.made(encoded)
        whole = b"".join(encoded) if isinstance(encoded, Chunks) else encoded
        if not answer.size:
            return answers.answer(self._json.text(whole))
        answer.sent_by(asyncio.current_task())
        return answers.answer(_Long(self._json.pieces(whole), answer))


async def _outcome(result: object) -> Encoded:
    """Wait for the service's response. Raises STOPPED if the call is cancelled because the member
    stops.
    """
    try:
        encoded: Encoded = await result  # type: ignore[misc]
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            cancel: Callable[[], object] | None = getattr(result, "cancel", None)
            if cancel is not None:
                cancel()
            raise
        raise STOPPED() from None
    finally:
        del result  # as in `_call`
    return encoded


class _Long(AsyncIterator[bytes]):
    """The body of a long response, generated as its client reads it."""

    def __init__(self, pieces: Iterator[bytes], answer: Answer) -> None:
        self._pieces = pieces
        self._answer = answer

    async def __anext__(self) -> bytes:
        # (The client may read as fast as pieces are made.)
        await asyncio.sleep(0)
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        self._answer.take(len(piece))
        return piece

    async def aclose(self) -> None:
        """The body has ended, or the client disconnected."""
        self._answer.release()
        self._pieces = iter(())
