"""Nothing of a call is left to the garbage collector: reference counting alone frees it.

What survives a full collection is frozen (`base/garbage.py`) and freed by reference counting only,
so a cycle that each call leaves would gather.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest

from rusd.member.member import Member
from rusd.proto import rpc_pb2 as rpc
from rusd.proto import v3lock_pb2 as lock
from rusd.raft.core.core import Core
from rusd.raft.errors import RequestTimeout
from tests.unit.member.test_interrupted_start import config
from tests.unit.raft.cluster import free_ports, until

CALLS = 20
GET = rpc.RangeRequest(key=b"a", range_end=b"b")
PUT = rpc.PutRequest(key=b"a", value=b"b")
FUTURE = rpc.RangeRequest(key=b"a", range_end=b"b", revision=1 << 40)

Call = Callable[[], Awaitable[object]]


def left_behind() -> Counter[str]:
    """The frames and objects of rusd that only the collector frees."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found: Counter[str] = Counter()
    for one in gc.garbage:
        if isinstance(one, FrameType):
            if "/rusd/" in one.f_code.co_filename:
                found[f"frame of {one.f_code.co_qualname}"] += 1
        elif type(one).__module__.startswith("rusd."):
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

    async def connect(self) -> None:
        host, port = self._address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await reader.read()
        writer.close()


@contextmanager
def collected_by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_calls_whatever_becomes_of_them_leave_no_cycles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out(core: Core, done: Callable[[object], None]) -> bool:
        asyncio.get_running_loop().call_soon(lambda: done(RequestTimeout()))
        return True

    async def leave_nothing(name: str, call: Call, refused: str | None) -> None:
        async def once() -> None:
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                assert error.details() == refused, name
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

    async def body() -> None:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        member = Member(config(tmp_path, client=f"http://{address}"))
        await member.start()
        assert member._components is not None
        await until(lambda: member._components.node.is_leader)  # type: ignore[union-attr]
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
        future = "etcdserver: mvcc: required revision is a future revision"
        later = calls.unary("/etcdserverpb.KV/Range", FUTURE, rpc.RangeResponse)
        try:
            await leave_nothing("get", get, None)
            await leave_nothing("put", put, None)
            await leave_nothing("stream", calls.stream(GET), None)
            await leave_nothing("watch", calls.watch, None)
            await leave_nothing("connection", calls.connect, None)
            await leave_nothing("future", later, future)
            await leave_nothing("future stream", calls.stream(FUTURE), future)
            await leave_nothing("lease", with_lease, "etcdserver: requested lease not found")
            for name in ("read", "propose"):
                with monkeypatch.context() as patched:
                    slow = "etcdserver: request timed out"
                    patched.setattr(
                        Core, name, lambda core, *arguments: time_out(core, arguments[-2])
                    )
                    if name == "read":
                        await leave_nothing("slow get", get, slow)
                        await leave_nothing("slow txn", txn, slow)
                        await leave_nothing("slow stream", calls.stream(GET), slow)
                    else:
                        await leave_nothing("slow put", put, slow)
                        await leave_nothing("slow lock", locking, slow)
            with monkeypatch.context() as patched:
                many = "etcdserver: too many requests"
                patched.setattr(Core, "overloaded", lambda core: True)
                patched.setattr(Core, "read", lambda core, done, deadline: False)
                await leave_nothing("refused get", get, many)
                await leave_nothing("refused put", put, many)
        finally:
            await calls.channel.close()
            await member.stop()

    asyncio.run(body())
