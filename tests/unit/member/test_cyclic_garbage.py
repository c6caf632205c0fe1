"""Nothing of a call is left to the garbage collector: reference counting alone frees it.

What survives a full collection is frozen (`base/garbage.py`) and freed by reference counting only,
so a cycle that each call leaves would gather.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import grpc
import pytest

from rusd.api.range_stream import RangeStream
from rusd.proto import rpc_pb2 as rpc
from rusd.proto import v3lock_pb2 as lock
from rusd.raft.core.core import Core
from rusd.raft.errors import RequestTimeout
from tests.support.member import running
from tests.support.ports import free_ports
from tests.unit.member.test_interrupted_start import config
from tests.unit.raft.cluster import until

CALLS = 20
GET = rpc.RangeRequest(key=b"a", range_end=b"b")
PUT = rpc.PutRequest(key=b"a", value=b"b")
FUTURE = rpc.RangeRequest(key=b"a", range_end=b"b", revision=1 << 40)
FUTURE_ERROR = "etcdserver: mvcc: required revision is a future revision"
SLOW = "etcdserver: request timed out"
MANY = "etcdserver: too many requests"
#: The same for the gateway.
READ = '{"key": "YQ==", "range_end": "Yg=="}'
FUTURE_READ = f'{{"key": "YQ==", "revision": {1 << 40}}}'
WRITE = '{"key": "YQ==", "value": "Yg=="}'
TXN = f'{{"success": [{{"request_range": {READ}}}]}}'
LEASED = '{"key": "YQ==", "lease": 77}'
#: Read in a thread, and answered in pieces.
LONG_WRITE = f'{{"key": "Yg==", "value": "{"YWFh" * 100_000}"}}'
LONG_READ = '{"key": "Yg=="}'
WATCH = '{"create_request": {"key": "YQ=="}}'
NAME = '{"name": "YQ=="}'
LATE, LATE_ERROR = "Grpc-Timeout: 1n", "context deadline exceeded"

Call = Callable[[], Awaitable[object]]


def left_behind() -> Counter[str]:
    """The frames and objects of rusd, and of its HTTP server, that only the collector frees."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found: Counter[str] = Counter()
    for one in gc.garbage:
        if isinstance(one, FrameType):
            if "/rusd/" in one.f_code.co_filename or "/aiohttp/" in one.f_code.co_filename:
                found[f"frame of {one.f_code.co_qualname}"] += 1
        elif type(one).__module__.startswith(("rusd.", "aiohttp.")):
            found[type(one).__qualname__] += 1
    gc.garbage.clear()
    return found


class Calls:
    """Calls of one member, in the same loop."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.channel = grpc.aio.insecure_channel(address)

    def unary(self, path: str, request: Any, response: Any) -> Call:
        method = self.channel.unary_unary(
            path, type(request).SerializeToString, response.FromString
        )
        return lambda: method(request, timeout=20)

    def stream(self, request: rpc.RangeRequest) -> Call:
        method = self.channel.unary_stream(
            "/etcdserverpb.KV/RangeStream",
            rpc.RangeRequest.SerializeToString,
            rpc.RangeStreamResponse.FromString,
        )

        async def read() -> None:
            async for _ in method(request, timeout=20):
                pass

        return read

    async def watch(self) -> None:
        method = self.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            rpc.WatchRequest.SerializeToString,
            rpc.WatchResponse.FromString,
        )
        call = method(timeout=20)
        await call.write(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"a")))
        assert (await call.read()).created
        call.cancel()

    async def left_stream(self) -> None:
        """A stream that its client leaves before it is answered."""
        method = self.channel.unary_stream(
            "/etcdserverpb.KV/RangeStream",
            rpc.RangeRequest.SerializeToString,
            rpc.RangeStreamResponse.FromString,
        )
        reading, closed = asyncio.Event(), asyncio.Event()
        close = RangeStream.closed

        def read(core: Core, done: object, deadline: float) -> bool:
            reading.set()
            return True

        def closing(stream: RangeStream) -> None:
            close(stream)
            closed.set()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Core, "read", read)
            patched.setattr(RangeStream, "closed", closing)
            call = method(GET)
            await reading.wait()
            call.cancel()
            await closed.wait()

    async def connect(self) -> None:
        host, port = self._address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await reader.read()
        writer.close()


class Refused(Exception):
    """The status and the error of a call of the gateway."""


class Pages:
    """Calls of one member's gateway: a connection for all, or one for each."""

    def __init__(self, address: str) -> None:
        self._host, port = address.split(":")
        self._port = int(port)
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)

    def unary(self, path: str, body: str, *headers: str) -> Call:
        async def call() -> None:
            if self._kept is None:
                self._kept = await self._open()
            reader, writer = self._kept
            writer.write(head(path, f"Content-Length: {len(body)}", *headers) + body.encode())
            status, fields = await answer_head(reader)
            text = await reader.readexactly(int(fields["content-length"]))
            if status != 200:
                raise Refused(status, json.loads(text)["message"])

        return call

    def stream(self, path: str, body: str, *headers: str, end: bytes = b"0\r\n\r\n") -> Call:
        """A stream that its client leaves after the first message, if there is one. `end`: of the
        chunks of the request.
        """

        async def call() -> None:
            reader, writer = await self._open()
            try:
                writer.write(head(path, "Transfer-Encoding: chunked", *headers))
                writer.write(f"{len(body):x}\r\n{body}\r\n".encode() + end)
                status, fields = await answer_head(reader)
                if status != 200:
                    found = json.loads(await reader.readexactly(int(fields["content-length"])))
                    raise Refused(status, found.get("error", found)["message"])
                await reader.readline()  # the size of the chunk
                if error := json.loads(await reader.readline()).get("error"):
                    raise Refused(status, error["message"])
            finally:
                writer.close()

        return call

    def whole_stream(self, path: str, body: str) -> Call:
        """A stream that ends by itself."""

        async def call() -> None:
            reader, writer = await self._open()
            close = ("Connection: close", f"Content-Length: {len(body)}")
            writer.write(head(path, *close) + body.encode())
            assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()

        return call

    async def socket(self) -> None:
        """A watch over a WebSocket."""
        url = f"http://{self._host}:{self._port}/v3/watch"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str(WATCH)
            assert "created" in await socket.receive_str()

    def close(self) -> None:
        if self._kept is not None:
            self._kept[1].close()


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: a", *headers, "", "")).encode()


async def answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in fields}


@contextmanager
def collected_by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def time_out(core: Core, done: Callable[[object], None]) -> bool:
    asyncio.get_running_loop().call_soon(lambda: done(RequestTimeout()))
    return True


@contextmanager
def timing_out(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Within it, each `read` or `propose` times out."""
    with monkeypatch.context() as patched:
        patched.setattr(Core, name, lambda core, *arguments: time_out(core, arguments[-2]))
        yield


@contextmanager
def overloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, each read and each proposal is one too many."""
    with monkeypatch.context() as patched:
        patched.setattr(Core, "overloaded", lambda core: True)
        patched.setattr(Core, "read", lambda core, done, deadline: False)
        yield


async def leave_nothing(name: str, call: Call, refused: str | None) -> None:
    async def once() -> None:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            assert error.details() == refused, name
        except Refused as error:
            assert error.args[1] == refused, name
        else:
            assert refused is None, name

    await once()
    with collected_by_hand():
        for _ in range(CALLS):
            await once()
        await asyncio.sleep(0)  # the callbacks of what ended
        left = left_behind()
    # (What a slow client leaves of its last call is not there yet.)
    assert not [one for one, count in left.items() if count >= CALLS // 2], (name, left)


@asynccontextmanager
async def leading(root: Path) -> AsyncIterator[str]:
    """The address of a member that leads."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with running(config(root, client=f"http://{address}")) as member:
        components = member._components
        assert components is not None
        try:
            await until(lambda: components.node.is_leader)
            # What is there already needs no look each time.
            gc.collect()
            gc.freeze()
            yield address
        finally:
            gc.unfreeze()


def test_calls_whatever_becomes_of_them_leave_no_cycles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(address: str) -> None:
        calls = Calls(address)
        get = calls.unary("/etcdserverpb.KV/Range", GET, rpc.RangeResponse)
        put = calls.unary("/etcdserverpb.KV/Put", PUT, rpc.PutResponse)
        txn = calls.unary(
            "/etcdserverpb.KV/Txn",
            rpc.TxnRequest(success=[rpc.RequestOp(request_range=GET)]),
            rpc.TxnResponse,
        )
        locking = calls.unary("/v3lockpb.Lock/Lock", lock.LockRequest(name=b"l"), lock.LockResponse)
        leased = rpc.PutRequest(key=b"a", lease=77)
        with_lease = calls.unary("/etcdserverpb.KV/Put", leased, rpc.PutResponse)
        later = calls.unary("/etcdserverpb.KV/Range", FUTURE, rpc.RangeResponse)
        try:
            await leave_nothing("get", get, None)
            await leave_nothing("put", put, None)
            await leave_nothing("stream", calls.stream(GET), None)
            await leave_nothing("left stream", calls.left_stream, None)
            await leave_nothing("watch", calls.watch, None)
            await leave_nothing("connection", calls.connect, None)
            await leave_nothing("future", later, FUTURE_ERROR)
            await leave_nothing("future stream", calls.stream(FUTURE), FUTURE_ERROR)
            await leave_nothing("lease", with_lease, "etcdserver: requested lease not found")
            with timing_out(monkeypatch, "read"):
                await leave_nothing("slow get", get, SLOW)
                await leave_nothing("slow txn", txn, SLOW)
                await leave_nothing("slow stream", calls.stream(GET), SLOW)
            with timing_out(monkeypatch, "propose"):
                await leave_nothing("slow put", put, SLOW)
                await leave_nothing("slow lock", locking, SLOW)
            with overloaded(monkeypatch):
                await leave_nothing("refused get", get, MANY)
                await leave_nothing("refused put", put, MANY)
        finally:
            await calls.channel.close()

    async def run() -> None:
        async with leading(tmp_path) as address:
            await body(address)

    asyncio.run(run())


def test_calls_of_the_gateway_leave_no_cycles_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pages: Pages) -> None:
        get = pages.unary("/v3/kv/range", READ)
        put = pages.unary("/v3/kv/put", WRITE)
        # (The stream of a client whose reads fail ends without an error.)
        observe = pages.whole_stream("/v3/election/observe", NAME)
        for name, call, refused in (
            ("get", get, None),
            ("put", put, None),
            ("txn", pages.unary("/v3/kv/txn", TXN), None),
            ("long put", pages.unary("/v3/kv/put", LONG_WRITE), None),
            ("long get", pages.whole_stream("/v3/kv/range", LONG_READ), None),
            ("watch", pages.stream("/v3/watch", WATCH), None),
            ("open watch", pages.stream("/v3/watch", WATCH, end=b""), None),
            ("socket", pages.socket, None),
            ("keepalive", pages.whole_stream("/v3/lease/keepalive", '{"ID": 7}'), None),
            ("no page", pages.unary("/v3/none", "{}"), "Not Found"),
            ("lease", pages.unary("/v3/kv/put", LEASED), "etcdserver: requested lease not found"),
            ("future", pages.unary("/v3/kv/range", FUTURE_READ), FUTURE_ERROR),
            ("no key", pages.unary("/v3/kv/put", "{}"), "etcdserver: key is not provided"),
            ("no JSON", pages.unary("/v3/kv/put", "{"), "unexpected EOF"),
            ("no name", pages.stream("/v3/election/observe", "{"), "unexpected EOF"),
            ("late get", pages.unary("/v3/kv/range", READ, LATE), LATE_ERROR),
            (
                "late stream",
                pages.stream("/v3/election/observe", NAME, LATE),
                LATE_ERROR,
            ),
        ):
            await leave_nothing(name, call, refused)
        with timing_out(monkeypatch, "read"):
            await leave_nothing("slow get", get, SLOW)
            await leave_nothing("slow observe", observe, None)
        with timing_out(monkeypatch, "propose"):
            await leave_nothing("slow put", put, SLOW)
        with overloaded(monkeypatch):
            await leave_nothing("refused get", get, MANY)
            await leave_nothing("refused put", put, MANY)
            await leave_nothing("refused observe", observe, None)

    async def run() -> None:
        async with leading(tmp_path) as address:
            pages = Pages(address)
            try:
                await body(pages)
            finally:
                pages.close()

    asyncio.run(run())
