"""gRPC on the client URLs, by grpcio's asyncio server: the only file of rusd that imports grpc.

A method's raw message is decoded here, so that garbage gets the status grpc-go gives it; the answer
is bytes already. Errors that are not EtcdErrors are bugs: logged, answered as UNKNOWN, and no other
call is disturbed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError, Message

from rusd.api.seam import BidiStream, Call, Method, Methods, ServerStream, StreamHandler, Unary
from rusd.door.stream import StreamOutlet
from rusd.errors import STOPPED, Code, EtcdError
from rusd.logs import get_logger

log = get_logger(__name__)

#: gRPC's own overhead that etcd allows above --max-request-bytes.
OVERHEAD_BYTES = 512 << 10
#: grpcio refuses messages far above the limit itself; those just above get etcd's words.
MARGIN_BYTES = 8 << 20

_STATUS = {status.value[0]: status for status in grpc.StatusCode}

#: (path, status code) of every finished call.
Finished = Callable[[str, int], None]


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
    ) -> None:
        """`keepalive_min_time`: seconds; clients that ping more often are sent away (etcd's
        policy; grpcio's own is sixty times stricter, which drops kube-apiserver)."""
        self._limit = max_request_bytes + OVERHEAD_BYTES
        self._finished = finished
        self._outlets: set[StreamOutlet] = set()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._limit + MARGIN_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", min(max_concurrent_streams, (1 << 31) - 1)),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                (
                    "grpc.http2.min_recv_ping_interval_without_data_ms",
                    int(keepalive_min_time * 1000),
                ),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.max_metadata_size", 64 << 10),
            ]
        )
        self._server.add_generic_rpc_handlers((_Router(self, methods),))

    async def start(self, urls: Sequence[str]) -> None:
        """Listen on `urls`; OSError if one cannot be had."""
        for url in urls:
            address = _address(url)
            try:
                bound = self._server.add_insecure_port(address)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {url}: {error}") from error
            if not bound:
                raise OSError(f"cannot listen on {url}")
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let the others finish for `grace` seconds."""
        for outlet in list(self._outlets):
            outlet.finish(STOPPED)
        await self._server.stop(grace)

    # Calls

    def decode(self, kind: type[Message], raw: bytes) -> Any:
        """The message, or the EtcdError grpc-go would answer with."""
        if len(raw) > self._limit:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message larger than max ({len(raw)} vs. {self._limit})",
            )
        try:
            return kind.FromString(raw)
        except DecodeError as error:
            text = f"grpc: failed to unmarshal the received message {error}"
            raise EtcdError(Code.INTERNAL, text) from error

    async def unary(self, path: str, method: Unary, raw: bytes, context: Any) -> bytes:
        try:
            answer = method.call(self.decode(method.request, raw), _call(raw, context))
            result = answer if isinstance(answer, bytes) else await answer
        except EtcdError as error:
            await self._abort(path, error, context)
            raise AssertionError("abort returned") from error
        except Exception:
            log.exception("a call failed", extra={"fields": {"method": path}})
            await self._abort(path, EtcdError(Code.UNKNOWN, "internal error"), context)
            raise
        self._finished(path, Code.OK)
        return result

    async def stream(
        self, path: str, method: BidiStream | ServerStream, raw: bytes, context: Any
    ) -> None:
        """Serve a stream until either side ends it."""
        outlet = StreamOutlet()
        self._outlets.add(outlet)
        reader: asyncio.Task[None] | None = None
        error: EtcdError | None = None
        try:
            call = _call(raw, context)
            if isinstance(method, ServerStream):
                outlet.handler = method.open(self.decode(method.request, raw), call, outlet)
            else:
                outlet.handler = method.open(call, outlet)
                reader = asyncio.get_running_loop().create_task(
                    self._read(method, outlet.handler, outlet, context)
                )
            while (message := await outlet.next()) is not None:
                await context.write(message)
            error = outlet.error
        except EtcdError as refusal:
            error = refusal
        finally:
            self._outlets.discard(outlet)
            outlet.finish()
            if reader is not None:
                reader.cancel()
            if outlet.handler is not None:
                outlet.handler.closed()
        if error is not None:
            await self._abort(path, error, context)
        self._finished(path, Code.OK)

    async def _read(
        self, method: BidiStream, handler: StreamHandler, outlet: StreamOutlet, context: Any
    ) -> None:
        try:
            while True:
                raw = await context.read()
                if raw is grpc.aio.EOF:
                    handler.half_closed()
                    return
                handler.received(self.decode(method.request, raw))
        except EtcdError as error:
            outlet.finish(error)
        except Exception:
            log.exception("a stream failed")
            outlet.finish(EtcdError(Code.UNKNOWN, "internal error"))

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
        service, _, name = path.removeprefix("/").rpartition("/")
        known = service in self._services
        text = f"unknown method {name} for service {service}" if known else ""
        refusal = EtcdError(Code.UNIMPLEMENTED, text or f"unknown service {service}")

        async def refuse(raw: bytes, context: Any) -> bytes:
            await self._door._abort("unknown", refusal, context)
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


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


def _address(url: str) -> str:
    """A client URL as grpcio's address."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "unixs"):
        return f"unix:{parts.netloc}{parts.path}"
    return parts.netloc
