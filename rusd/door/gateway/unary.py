"""Unary calls over HTTP: one JSON object in, one out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from google.protobuf.message import EncodeError, Message

from rusd.base.chunks import Chunks, Encoded, size_of
from rusd.base.logs import get_logger
from rusd.base.worker import Worker
from rusd.door.gateway import answers
from rusd.door.gateway.json_reader import MessageReader
from rusd.door.gateway.json_syntax import JsonError
from rusd.door.gateway.json_writer import PIECE, MessageWriter, gathered
from rusd.door.gateway.memory import AnswerMemory
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import (
    CANCELED,
    DEADLINE_EXCEEDED,
    STOPPED,
    Code,
    Definition,
    EtcdError,
    as_etcd,
)
from rusd.rpc.methods import Unary
from rusd.rpc.pages import PageResponse

log = get_logger(__name__)

BUG = Definition(Code.UNKNOWN, "internal error")

#: Bytes of a JSON text that is read at once; a longer one is read in a thread.
AT_ONCE = 64 << 10


def encoded_request(reader: MessageReader, text: bytes, limit: int) -> tuple[Message, bytes]:
    """The request that `text` is, and its encoding of at most `limit` bytes. Raises EtcdError."""
    try:
        request = reader.read(text)
        raw = request.SerializeToString()
    except JsonError as error:
        raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from None
    except EncodeError:
        raise EtcdError(Code.INVALID_ARGUMENT, "exceeded max recursion depth") from None
    if len(raw) > limit:
        text_ = f"grpc: received message larger than max ({len(raw)} vs. {limit})"
        raise EtcdError(Code.RESOURCE_EXHAUSTED, text_)
    return request, raw


def told(error: BaseException, path: str) -> EtcdError:
    """What the client is told of an error, which is logged if it is a fault."""
    refusal = as_etcd(error)
    if refusal is None:
        log.error("a call failed", exc_info=error, extra={"fields": {"method": path}})
        return BUG()
    return refusal


class UnaryCall:
    """Calls of one method."""

    def __init__(
        self,
        path: str,
        reader: MessageReader,
        response: type[Message],
        writer: MessageWriter,
        limit: int,
        memory: AnswerMemory,
        thread: Worker,
    ) -> None:
        """`path`: of gRPC. `limit`: bytes of an encoded request. `thread` reads long texts."""
        self._path = path
        self._reader = reader
        self._response = response
        self._writer = writer
        self._limit = limit
        self._memory = memory
        self._thread = thread

    async def run(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        timeout: float | None,
        caller: Caller,
    ) -> PageResponse:
        """The response to a request with the body `text`."""
        code = CANCELED.code
        counts = method.counts
        counts.start()
        try:
            if timeout is None:
                encoded = await self._call(method, text, metadata, None, caller)
            else:
                deadline = asyncio.get_running_loop().time() + timeout
                async with asyncio.timeout_at(deadline):
                    encoded = await self._call(method, text, metadata, deadline, caller)
            response = self._answer(encoded)
            code = Code.OK
        except TimeoutError:
            code = DEADLINE_EXCEEDED.code
            return answers.refusal(DEADLINE_EXCEEDED)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            refusal = told(error, self._path)
            code = refusal.code
            return answers.refusal(refusal)
        finally:
            counts.finish(code)
        return response

    async def _call(
        self,
        method: Unary,
        text: bytes,
        metadata: dict[str, str],
        deadline: float | None,
        caller: Caller,
    ) -> Encoded:
        if len(text) <= AT_ONCE:
            request, raw = encoded_request(self._reader, text, self._limit)
        else:
            request, raw = await self._thread.run(
                lambda: encoded_request(self._reader, text, self._limit)
            )
        call = Call(metadata, raw, deadline, caller, self._memory.wait)
        result = method.call(request, call)
        if isinstance(result, bytes | Chunks):
            return result
        return await _outcome(result)

    def _answer(self, encoded: Encoded) -> PageResponse:
        size = size_of(encoded)
        message = self._response.FromString(
            b"".join(encoded) if isinstance(encoded, Chunks) else encoded
        )
        if size <= PIECE:
            return answers.answer(self._writer.text(message).encode())
        return answers.answer(_Long(gathered(self._writer.pieces(message)), size, self._memory))


async def _outcome(result: object) -> Encoded:
    """What the service answers later. STOPPED if the service cancels it: the member stops."""
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
    return encoded


class _Long(AsyncIterator[bytes]):
    """The body of a long answer, made as its client reads."""

    def __init__(self, pieces: Iterator[bytes], size: int, memory: AnswerMemory) -> None:
        self._pieces = pieces
        self._size = size
        self._memory = memory
        memory.take(size)

    async def __anext__(self) -> bytes:
        # (The client may read as fast as pieces are made.)
        await asyncio.sleep(0)
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """The end, or the client has gone."""
        self._memory.release(self._size)
        self._size = 0
        self._pieces = iter(())
