"""gRPC on the client URLs, by grpcio's asyncio server: the only file of rusd that imports grpc.

A method's raw message is decoded here, so that garbage gets the status grpc-go gives it; the answer
is bytes already. Errors that are not EtcdErrors are bugs: logged, answered as UNKNOWN, and no other
call is disturbed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from rusd.api.seam import BidiStream, Call, Method, Methods, ServerStream, StreamHandler, Unary
from rusd.door.addresses import bindable
from rusd.door.stream import StreamOutlet
from rusd.errors import CANCELED, STOPPED, Code, EtcdError
from rusd.logs import get_logger

log = get_logger(__name__)

#: gRPC's own overhead that etcd allows above --max-request-bytes.
OVERHEAD_BYTES = 512 << 10
#: grpcio refuses messages far above the limit itself; those just above get etcd's words.
MARGIN_BYTES = 8 << 20

#: grpc-go words a message that cannot be decoded in these two ways.
_IN_CALL = "error unmarshalling request:"
_IN_STREAM = "failed to unmarshal the received message"

#: What grpcio takes for an interval that never ends, and for the largest number.
_NEVER = (1 << 31) - 1

_STATUS = {status.value[0]: status for status in grpc.StatusCode}

#: Told the path of every call that begins.
Started = Callable[[str], None]
#: Told the path and the status code of every call that is over.
Finished = Callable[[str, int], None]

_BUG = EtcdError(Code.UNKNOWN, "internal error")


class GrpcDoor:
    """One grpcio server over one table of methods."""

    def __init__(
        self,
        methods: Methods,
        *,
        max_request_bytes: int,
        max_concurrent_streams: int,
        keepalive_min_time: float,
        finished: Finished,
        started: Started = lambda path: None,
        keepalive_interval: float = 7200,
        keepalive_timeout: float = 20,
    ) -> None:
        """`keepalive_min_time`: seconds; clients that ping more often are sent away (etcd's
        policy; grpcio's own is sixty times stricter, which drops kube-apiserver).
        `keepalive_interval`: seconds of silence after which the server pings a client (0: never);
        `keepalive_timeout`: seconds until one that does not answer is given up."""
        self._limit = max_request_bytes + OVERHEAD_BYTES
        self._started = started
        self._finished = finished
        self._outlets: set[StreamOutlet] = set()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._limit + MARGIN_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", min(max_concurrent_streams, _NEVER)),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.keepalive_time_ms", _milliseconds(keepalive_interval) or _NEVER),
                ("grpc.keepalive_timeout_ms", _milliseconds(keepalive_timeout)),
                (
                    "grpc.http2.min_ping_interval_without_data_ms",
                    _milliseconds(keepalive_min_time),
                ),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.max_metadata_size", 64 << 10),
            ]
        )
        self._server.add_generic_rpc_handlers((_Router(self, methods),))

    async def start(self, urls: Sequence[str]) -> None:
        """Listen on `urls`; OSError if one cannot be had."""
        loop = asyncio.get_running_loop()
        for url in urls:
            for address in await loop.run_in_executor(None, bindable, url):
                try:
                    self._server.add_insecure_port(address)
                except RuntimeError as error:
                    raise OSError(f"cannot listen on {url}: {error}") from error
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let the others finish for `grace` seconds."""
        for outlet in list(self._outlets):
            outlet.finish(STOPPED)
        await self._server.stop(grace)

    # Calls

    def decode(self, kind: type[Message], raw: bytes, failure: str = _IN_STREAM) -> Any:
        """The message, or the EtcdError grpc-go would answer with."""
        if len(raw) > self._limit:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message larger than max ({len(raw)} vs. {self._limit})",
            )
        try:
            return kind.FromString(raw)
        except DecodeError as error:
            raise EtcdError(Code.INTERNAL, f"grpc: {failure} {error}") from error

    async def unary(self, path: str, method: Unary, raw: bytes, context: Any) -> bytes:
        """Serve one call."""
        self._started(path)
        call = _call(raw, context)
        try:
            answer = method.call(self.decode(method.request, raw, _IN_CALL), call)
            result = answer if isinstance(answer, bytes) else await answer
        except EtcdError as refusal:
            error = refusal
        except asyncio.CancelledError:
            if _cancelled_by_client():
                self._finished(path, _lost(call))
                raise
            # The service dropped the answer: it is going down, and the client must be told.
            error = STOPPED
        except Exception:
            log.exception("a call failed", extra={"fields": {"method": path}})
            error = _BUG
        else:
            self._finished(path, Code.OK)
            return result
        await self._abort(path, error, context)
        raise AssertionError("abort returned") from error

    async def stream(
        self, path: str, method: BidiStream | ServerStream, raw: bytes, context: Any
    ) -> None:
        """Serve a stream until either side ends it."""
        self._started(path)
        call = _call(raw, context)
        outlet = StreamOutlet()
        self._outlets.add(outlet)
        try:
            error = await self._converse(path, method, call, outlet, context)
        except asyncio.CancelledError:
            self._finished(path, _lost(call))
            raise
        finally:
            self._outlets.discard(outlet)
        if error is not None:
            await self._abort(path, error, context)
        self._finished(path, Code.OK)

    async def _converse(
        self,
        path: str,
        method: BidiStream | ServerStream,
        call: Call,
        outlet: StreamOutlet,
        context: Any,
    ) -> EtcdError | None:
        """Write what the service sends, with a task beside it that reads; how it ended."""
        reader: asyncio.Task[None] | None = None
        try:
            if isinstance(method, ServerStream):
                outlet.handler = method.open(self.decode(method.request, call.raw), call, outlet)
            else:
                outlet.handler = method.open(call, outlet)
                reader = asyncio.get_running_loop().create_task(
                    self._read(path, method, outlet.handler, outlet, context)
                )
            while (message := await outlet.next()) is not None:
                await context.write(message)
            return outlet.error
        except EtcdError as refusal:
            return refusal
        except grpc.aio.BaseError:
            # A write to a client that has gone: it will read no status either.
            return CANCELED
        except Exception:
            log.exception("a stream failed", extra={"fields": {"method": path}})
            return _BUG
        finally:
            outlet.finish()
            if reader is not None:
                reader.cancel()
            if outlet.handler is not None:
                outlet.handler.closed()

    async def _read(
        self,
        path: str,
        method: BidiStream,
        handler: StreamHandler,
        outlet: StreamOutlet,
        context: Any,
    ) -> None:
        try:
            while (raw := await context.read()) is not grpc.aio.EOF:
                handler.received(self.decode(method.request, raw))
                # A client that asks without reading the answers is not listened to: what it asks
                # for would pile up here.
                await outlet.room()
            handler.half_closed()
        except EtcdError as error:
            outlet.finish(error)
        except grpc.aio.BaseError:
            outlet.finish(CANCELED)
        except Exception:
            log.exception("a stream failed", extra={"fields": {"method": path}})
            outlet.finish(_BUG)

    async def refuse(self, error: EtcdError, context: Any) -> None:
        """End a call of no method."""
        await self._abort("unknown", error, context)

    async def _abort(self, path: str, error: EtcdError, context: Any) -> None:
        self._finished(path, error.code)
        await context.abort(_STATUS[error.code], error.message)


class _Router(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the method of a path."""

    def __init__(self, door: GrpcDoor, methods: Methods) -> None:
        self._handlers = {path: _handler(door, path, method) for path, method in methods.items()}
        self._services = {path.split("/")[1] for path in methods}
        self._door = door

    def service(self, details: Any) -> Any:
        handler = self._handlers.get(details.method)
        return handler if handler is not None else self._unknown(details.method)

    def _unknown(self, path: str) -> Any:
        """UNIMPLEMENTED in grpc-go's words."""
        service, slash, name = path.removeprefix("/").rpartition("/")
        if not slash:
            text = f'malformed method name: "{path}"'
        elif service in self._services:
            text = f"unknown method {name} for service {service}"
        else:
            text = f"unknown service {service}"
        refusal = EtcdError(Code.UNIMPLEMENTED, text)

        async def refuse(requests: Any, context: Any) -> None:
            await self._door.refuse(refusal, context)

        # Answers before any message has come, which a client of a stream may wait for.
        return grpc.stream_stream_rpc_method_handler(refuse)


def _handler(door: GrpcDoor, path: str, method: Method) -> Any:
    if isinstance(method, Unary):

        async def unary(raw: bytes, context: Any) -> bytes:
            return await door.unary(path, method, raw, context)

        return grpc.unary_unary_rpc_method_handler(unary)
    if isinstance(method, ServerStream):

        async def server_stream(raw: bytes, context: Any) -> None:
            await door.stream(path, method, raw, context)

        return grpc.unary_stream_rpc_method_handler(server_stream)

    async def bidi(requests: Any, context: Any) -> None:
        await door.stream(path, method, b"", context)

    return grpc.stream_stream_rpc_method_handler(bidi)


def _call(raw: bytes, context: Any) -> Call:
    metadata = {
        key: value for key, value in context.invocation_metadata() if isinstance(value, str)
    }
    left = context.time_remaining()
    deadline = None if left is None else time.monotonic() + left
    return Call(metadata, raw, deadline, context.peer())


def _cancelled_by_client() -> bool:
    """Whether this call's task itself is cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _lost(call: Call) -> Code:
    """The status of a call whose client no longer waits."""
    late = call.deadline is not None and time.monotonic() >= call.deadline
    return Code.DEADLINE_EXCEEDED if late else Code.CANCELED


def _milliseconds(seconds: float) -> int:
    return min(int(seconds * 1000), _NEVER)
