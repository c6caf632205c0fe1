"""Clients that ask for much at once wait; clients that make a member hold much have to go.

Memory is measured where it counts: the resident size of the member's process, on the way up and
after the clients are gone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.waiting import wait

MIB = 1 << 20
BUDGET = 32 * MIB
#: What a member may need for itself on top of the budget: buffers on the way, fragments.
ITS_OWN = 64 * MIB


async def puts(endpoint: str, count: int, size: int) -> list[str]:
    """Send this many puts at once on one connection; return the errors of those that failed."""
    async with grpc.aio.insecure_channel(endpoint) as channel:
        stub = channel.unary_unary(
            "/etcdserverpb.KV/Put", request_serializer=rpc.PutRequest.SerializeToString
        )

        async def put(number: int) -> str:
            request = rpc.PutRequest(key=b"key %d" % number, value=bytes(size))
            try:
                await stub(request, timeout=120, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            return ""

        answers = await asyncio.gather(*map(put, range(count)))
    return [answer for answer in answers if answer]


@pytest.mark.parametrize("members", [1, 3])
def test_many_large_puts_at_once_on_one_connection_are_all_written(members: int) -> None:
    """With the flags as they are; etcd writes all of them."""
    with LocalCluster(members) as cluster:
        for endpoint in cluster.endpoints[-1:]:
            assert asyncio.run(puts(endpoint, 120, MIB)) == []


class Client:
    """HTTP/2 by hand, on a socket that is not read any further."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._say()
        self.h2.receive_data(self.socket.recv(65_536))

    def call(self, path: str, *pieces: bytes) -> None:
        """Begin a call and send as much of it as its window lets through."""
        stream = self.h2.get_next_available_stream_id()
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "here",
            ":path": f"/etcdserverpb.{path}",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        self.h2.send_headers(stream, list(fields.items()))
        for piece in pieces:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, piece[:room])
        self._say()

    def _say(self) -> None:
        self.socket.sendall(self.h2.data_to_send())


def resident(pid: int) -> int:
    """Bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")


@pytest.fixture
def member() -> Iterator[LocalCluster]:
    with LocalCluster(1, flags=[f"--client-memory-bytes={BUDGET}"]) as cluster:
        yield cluster


def watch_from_the_beginning(client: Client) -> None:
    create = rpc.WatchCreateRequest(key=b"key", range_end=b"kez", start_revision=1)
    request = rpc.WatchRequest(create_request=create).SerializeToString()
    client.call("Watch/Watch", struct.pack(">BL", 0, len(request)) + request)


def begin_puts(client: Client) -> None:
    """A connection's window full of puts that are never ended."""
    for _ in range(60):
        client.call("KV/Put", struct.pack(">BL", 0, MIB), *[bytes(16_000)] * 3)


@pytest.mark.parametrize(
    ("begin", "clients"),
    [(watch_from_the_beginning, 150), (begin_puts, 40)],
    ids=["watches that are not read", "requests that do not end"],
)
def test_clients_hold_no_more_than_their_budget_and_it_is_given_back(
    member: LocalCluster, begin: Callable[[Client], None], clients: int
) -> None:
    endpoint, pid = member.endpoints[0], member.members[0].pid
    assert asyncio.run(puts(endpoint, 20, MIB)) == []
    before = resident(pid)
    most = before
    with ExitStack() as stack:
        for _ in range(clients):
            client = Client(endpoint)
            stack.callback(client.socket.close)
            try:
                begin(client)
            except OSError:
                continue  # it has been cut off already
            most = max(most, resident(pid))
        for _ in range(20):
            # Everybody else is served meanwhile.
            assert asyncio.run(puts(endpoint, 1, MIB)) == []
            most = max(most, resident(pid))
    assert most - before < BUDGET + ITS_OWN + 20 * MIB, f"{(most - before) / MIB} MiB"
    wait(lambda: resident(pid) - before < ITS_OWN or None, "memory is not given back", 30)
