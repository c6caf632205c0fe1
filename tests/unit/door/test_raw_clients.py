"""Clients that break rules below gRPC: no other client is affected.

They speak HTTP/2 frames by hand, since no client library can be made to do these things.
"""

from __future__ import annotations

import asyncio
import struct
import sys

import pytest

from rusd.door.grpc.server import GrpcDoor
from rusd.rpc.errors import Code
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.toys import LIMIT, Served, Toys, served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """(kind, flags, payload)."""
    head = await reader.readexactly(9)
    return head[3], head[4], await reader.readexactly(int.from_bytes(head[:3], "big"))


async def pings_until_sent_away(port: int, pause: float, count: int) -> str:
    """Send `count` pings `pause` seconds apart; return the server's reason to close, else ""."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE + frame(SETTINGS, 0, b""))
    try:
        for number in range(count):
            writer.write(frame(PING, 0, struct.pack(">Q", number)))
            while True:
                kind, flags, payload = await next_frame(reader)
                if kind == GOAWAY:
                    return payload[8:].decode()
                if kind == PING and flags == ACK:
                    break
            await asyncio.sleep(pause)
        return ""
    finally:
        writer.close()


@pytest.mark.parametrize(("pause", "verdict"), [(0.0, "too_many_pings"), (0.12, "")])
def test_a_client_that_pings_too_often_gets_too_many_pings(pause: float, verdict: str) -> None:
    """Without any call open, as idle etcd clients do; grpcio's own limit is five minutes."""

    async def run() -> None:
        door = GrpcDoor(
            Toys().methods(),
            fail=unexpected,
            max_request_bytes=LIMIT,
            max_concurrent_streams=100,
            keepalive_min_time=0.1,
        )
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        try:
            pinging = pings_until_sent_away(port, pause, 10)
            assert await asyncio.wait_for(pinging, 30) == verdict
        finally:
            await door.stop(0)

    asyncio.run(run())


CLIENT = """
import asyncio, sys, grpc
async def main():
    channel = grpc.aio.insecure_channel("127.0.0.1:" + sys.argv[1])
    stream = channel.stream_stream("/toy.Toys/Talk")()
    await stream.write(b"")
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_client_killed_while_it_is_written_to_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(one: Served) -> None:
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(one.port), stdin=asyncio.subprocess.DEVNULL
        )
        try:
            await one.toys.opened.wait()
            handler = one.toys.streams[0]
            while handler.responses.ready():
                handler.responses.send(b"x" * 65536)
                await asyncio.sleep(0)
        finally:
            client.kill()
            await client.wait()
        await handler.over.wait()
        assert handler.told.count("closed") == 1
        while not one.finished:
            await asyncio.sleep(0.01)
        assert one.finished == [("/toy.Toys/Talk", Code.CANCELED)]

    async def run() -> None:
        async with served() as one:
            await asyncio.wait_for(test(one), 60)

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_connection_without_http2_disturbs_no_other() -> None:
    async def run() -> None:
        toys = Toys()
        door = GrpcDoor(
            toys.methods(),
            fail=unexpected,
            max_request_bytes=LIMIT,
            max_concurrent_streams=100,
            keepalive_min_time=5,
        )
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        one = Served(toys, door, port)
        try:
            for junk in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", PREFACE + b"\xff" * 100, b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(junk)
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 30)
                writer.close()
                assert await one.call("toy.Toys/Echo", b"") is not None
        finally:
            await one.channel.close()
            await door.stop(0)

    asyncio.run(run())
