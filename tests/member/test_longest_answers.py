"""Answers that gRPC cannot carry are refused as etcd's server refuses them.

The bound is lowered in a member of this process: nothing here builds two gigabytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from rusd.config import load, parse_arguments
from rusd.door.grpc import messages
from rusd.proto import rpc_pb2 as rpc
from tests.support.member import running
from tests.support.ports import free_urls

BOUND = 10_000
TOO_LONG = "trying to send message larger than max"


def with_member(directory: Path, test: Callable[[grpc.aio.Channel], Awaitable[None]]) -> None:
    async def run() -> None:
        client, peer = free_urls(2)
        flags = {
            "--data-dir": str(directory),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": f"default={peer}",
        }
        arguments = parse_arguments([f"{name}={value}" for name, value in flags.items()])
        async with (
            running(load(arguments, {}).config),
            grpc.aio.insecure_channel(client.removeprefix("http://")) as channel,
        ):
            await asyncio.wait_for(test(channel), 60)

    asyncio.run(run())


async def call(channel: grpc.aio.Channel, method: str, request: Any, answer: Any) -> Any:
    stub = channel.unary_unary(
        f"/etcdserverpb.KV/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return await stub(request, wait_for_ready=True, timeout=30)


def test_unary_calls_range_streams_and_watches_end_with_etcds_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(channel: grpc.aio.Channel) -> None:
        put = rpc.PutRequest(key=b"k", value=bytes(BOUND - 100))
        await call(channel, "Put", put, rpc.PutResponse)
        one = rpc.RangeRequest(key=b"k")
        both = rpc.RangeRequest(key=b"k", range_end=b"l")
        await call(channel, "Range", one, rpc.RangeResponse)
        put.key = b"k2"
        await call(channel, "Put", put, rpc.PutResponse)

        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(channel, "Range", both, rpc.RangeResponse)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        said = error.value.details() or ""
        assert said.startswith(f"grpc: {TOO_LONG} (") and said.endswith(f" vs. {BOUND})")

        ranging = channel.unary_stream(
            "/etcdserverpb.KV/RangeStream", request_serializer=rpc.RangeRequest.SerializeToString
        )
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in ranging(both):
                pass
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (error.value.details() or "").startswith(f"{TOO_LONG} (")

        watching = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )()
        create = rpc.WatchCreateRequest(key=b"k", range_end=b"l", start_revision=1)
        await watching.write(rpc.WatchRequest(create_request=create))
        assert (await watching.read()).created
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await watching.read()
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (error.value.details() or "").startswith(f"{TOO_LONG} (")
        # The connection goes on.
        await call(channel, "Range", one, rpc.RangeResponse)

    monkeypatch.setattr(messages, "SEND_AT_MOST", BOUND)
    with_member(tmp_path, test)
