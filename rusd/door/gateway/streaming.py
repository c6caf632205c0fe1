"""Streams over HTTP: JSON objects in, a line of JSON for each message out.

The response begins with the first message, since its status says whether the call was refused. A
line is made when the client has taken those before it, so that a client that does not read has a
bounded queue of encoded messages, and its service is told that the stream is full. Requests are
read while the queue has room.

A request that cannot be read ends the requests, not the stream, as in etcd: with lease keepalive
the answers end then, a watch goes on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from google.protobuf.message import Message

from rusd.base.chunks import Encoded, size_of, whole
from rusd.base.pending import Pending
from rusd.door.gateway import answers
from rusd.door.gateway.json_pieces import PIECE
from rusd.door.gateway.json_syntax import JsonError, ValueSplitter
from rusd.door.gateway.json_writer import escaped
from rusd.door.gateway.method_json import MethodJson
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import CANCELED, DEADLINE_EXCEEDED, STOPPED, Code, EtcdError
from rusd.rpc.methods import BidiStream, ServerStream
from rusd.rpc.pages import BodyMalformed, BodyTimeout, PageResponse, RequestBody
from rusd.rpc.streams import StreamHandler

#: Bytes of messages that wait for a client before its stream counts as full.
HIGH_BYTES = 256 << 10


class OpenStreams:
    """The open streams of one gateway."""

    def __init__(self) -> None:
        self._open: dict[JsonStream, None] = {}

    def add(self, stream: "JsonStream") -> None:
        self._open[stream] = None

    def remove(self, stream: "JsonStream") -> None:
        self._open.pop(stream, None)

    def stop(self) -> None:
        """End all streams, since the member stops."""
        for stream in list(self._open):
            stream.finish(STOPPED())


class JsonStream:
    """One streaming call; the service's `ResponseStream`."""

    def __init__(
        self, json: MethodJson, method: BidiStream | ServerStream, streams: OpenStreams
    ) -> None:
        self._json = json
        self._memory = json.streams
        self._method = method
        self._streams = streams
        self._handler: StreamHandler | None = None
        self._queue: deque[Encoded] = deque()
        self._queued = 0
        self._finished = False
        self._closed = False
        self._error: EtcdError | None = None
        #: Resolved when there is something to send; when there is room for requests.
        self._something: Pending[None] | None = None
        self._room: Pending[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._code = CANCELED.code
        method.counts.start()
        streams.add(self)

    # ResponseStream

    def send(self, message: Encoded) -> None:
        if self._finished:
            return
        self._queue.append(message)
        size = size_of(message)
        self._queued += size
        self._memory.take(size)
        self._wake()

    def ready(self) -> bool:
        return self._queued < HIGH_BYTES and not (self._queued and self._memory.tight)

    def waiting(self) -> int:
        return self._queued

    def finish(self, error: Exception | None = None) -> None:
        if self._finished:
            return
        self._finished = True
        self._error = None if error is None else self._json.told(error)
        self._code = Code.OK if self._error is None else self._error.code
        self._wake()

    def _wake(self) -> None:
        something, self._something = self._something, None
        if something is not None:
            something.set_result(None)

    # Requests

    def open(self, open_stream: Callable[["JsonStream"], StreamHandler]) -> None:
        """Open the stream in the service."""
        try:
            self._handler = open_stream(self)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    def half_close(self) -> None:
        """Tell the service that the client sends no more messages."""
        self._tell(lambda handler: handler.half_closed())

    def read_requests(self, body: RequestBody) -> None:
        """Pass the requests in `body` to the service as they arrive."""
        self._reading = asyncio.ensure_future(self._read(body))

    async def _read(self, body: RequestBody) -> None:
        # (Twice: base64 is a third longer, and names take space.)
        splitter = ValueSplitter(2 * self._json.limit)
        try:
            async for chunk in body.chunks():
                for text in splitter.feed(chunk):
                    request, _ = self._json.request(text)
                    await self._until_room()
                    self._receive(request)
                    # A chunk may hold thousands of requests.
                    await asyncio.sleep(0)
                    if self._finished:
                        return
        except (JsonError, EtcdError, BodyMalformed, BodyTimeout):
            pass  # what cannot be read ends the requests
        except OSError:
            return  # the client has gone
        except Exception as error:  # noqa: BLE001
            # A fault here: ends this call only.
            self.finish(error)
            return
        self.half_close()

    def _receive(self, request: Message) -> None:
        self._tell(lambda handler: handler.received(request))

    async def _until_room(self) -> None:
        while not self._finished and not self.ready():
            self._room = Pending()
            await self._room

    def _tell(self, event: Callable[[StreamHandler], None]) -> None:
        if self._handler is None or self._finished:
            return
        try:
            event(self._handler)
        except Exception as error:  # noqa: BLE001
            # A refusal or a fault of the service: ends this call only.
            self.finish(error)

    # Responses

    async def respond(self, timeout: float | None) -> PageResponse:
        """Return the response as soon as its status is known."""
        try:
            if timeout is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(timeout, self._expired)
            await self._until_something()
        except BaseException:
            self.close()
            raise
        if self._queue:
            return answers.answer(_Lines(self))
        self.close()
        if self._error is not None:
            return answers.stream_refusal(self._error)
        return PageResponse(200, (), _nothing())

    def _expired(self) -> None:
        self.finish(DEADLINE_EXCEEDED())

    async def _until_something(self) -> None:
        while not self._queue and not self._finished:
            self._something = Pending()
            await self._something

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the response, each in one piece unless it is long."""
        while True:
            await self._until_something()
            if not self._queue:
                break
            message = self._queue.popleft()
            size = size_of(message)
            if size <= PIECE:
                yield escaped(b'{"result":%b}\n' % self._json.text(whole(message)))
            else:
                yield b'{"result":'
                for piece in self._json.pieces(message):
                    yield escaped(piece)
                    await asyncio.sleep(0)
                yield b"}\n"
            self._taken(size)
        if self._error is not None:
            yield answers.stream_error(self._error)

    def _taken(self, size: int) -> None:
        """The client took a message."""
        full = not self.ready()
        self._queued -= size
        self._memory.release(size)
        if full and self.ready():
            self._tell(lambda handler: handler.drained())
        if self._room is not None and self.ready():
            room, self._room = self._room, None
            room.set_result(None)

    # The end

    def close(self) -> None:
        """Tell the service that the stream has ended: exactly once, and last."""
        if self._closed:
            return
        self._closed = self._finished = True
        self._streams.remove(self)
        self._memory.release(self._queued)
        self._queue.clear()
        self._queued = 0
        # (Each of these refers to this stream, or will: a cycle.)
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.closed()
            except Exception as error:  # noqa: BLE001
                # A fault of the service, which is logged.
                self._json.told(error)
        self._method.counts.finish(self._code)


class _Lines(AsyncIterator[bytes]):
    """The body of a stream's response."""

    def __init__(self, stream: JsonStream) -> None:
        self._stream = stream
        self._lines = stream.lines()

    def __anext__(self) -> Awaitable[bytes]:
        return self._lines.__anext__()

    async def aclose(self) -> None:
        """The body has ended, or the client disconnected."""
        self._stream.close()
        await self._lines.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


class StreamCall:
    """Calls of one streaming method."""

    def __init__(self, json: MethodJson, streams: OpenStreams) -> None:
        self._json = json
        self._streams = streams

    async def run(
        self,
        method: BidiStream | ServerStream,
        body: RequestBody,
        metadata: dict[str, str],
        timeout: float | None,
        caller: Caller,
    ) -> PageResponse:
        """Return the response to a request with this body."""
        deadline = None
        if timeout is not None:
            deadline = asyncio.get_running_loop().time() + timeout
        raw = b""
        request: Message | None = None
        if isinstance(method, ServerStream):
            try:
                request, raw = self._json.request(await body.read())
            except EtcdError as error:
                return answers.refusal(error)
        stream = JsonStream(self._json, method, self._streams)
        call = Call(metadata, raw, deadline, caller)
        if isinstance(method, BidiStream):
            stream.open(lambda stream: method.open(call, stream))
            stream.read_requests(body)
        else:
            stream.open(lambda stream: method.open(request, call, stream))
            stream.half_close()
        return await stream.respond(timeout)
