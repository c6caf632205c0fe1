"""Calls below what any gRPC client sends, made of rusd and of etcd: the same status from both.

hyper-h2 speaks the HTTP/2, an implementation that neither of the two uses.
"""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.nested_txns import nested
from tests.support.pair import FLAGS, SUBJECT, command

RANGE = "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
TXN = "/etcdserverpb.KV/Txn"
REQUEST = rpc.RangeRequest(key=b"a").SerializeToString()
FRAME = 16 << 10
LIMIT = (1536 << 10) + (512 << 10)


def message(body: bytes, flag: int = 0, size: int | None = None) -> bytes:
    return struct.pack(">BL", flag, len(body) if size is None else size) + body


PUT = rpc.TxnRequest(success=[{"request_put": {"key": b"nested", "value": b"v"}}])


@dataclass
class Case:
    body: bytes
    path: str = RANGE
    headers: dict[str, str] = field(default_factory=dict)


CASES = {
    "a request": Case(message(REQUEST)),
    "no message": Case(b""),
    "half a prefix": Case(b"\0\0"),
    "half a message": Case(message(b"ab", size=5)),
    "two messages": Case(message(REQUEST) * 2),
    "compressed without an encoding": Case(message(REQUEST, flag=1)),
    "an unknown flag": Case(message(REQUEST, flag=2)),
    "gzip": Case(message(gzip.compress(REQUEST), 1), headers={"grpc-encoding": "gzip"}),
    "gzip, but plain": Case(message(REQUEST), headers={"grpc-encoding": "gzip"}),
    "another encoding": Case(message(REQUEST), headers={"grpc-encoding": "snappy"}),
    "one byte too large": Case(message(b"x", size=LIMIT + 1)),
    "far too large": Case(message(b"x", size=1 << 30)),
    "an unknown method": Case(message(REQUEST), path="/etcdserverpb.KV/Nope"),
    "an unknown service": Case(message(REQUEST), path="/no.Such/Nope"),
    "another content type of gRPC": Case(
        message(REQUEST), headers={"content-type": "application/grpc+json"}
    ),
    "a token of a million bytes": Case(message(REQUEST), headers={"x-token": "eyJ0" * 250_000}),
    "many headers": Case(
        message(REQUEST), headers={f"x-{number}": "value" for number in range(20_000)}
    ),
    **{
        f"a txn with {deep} levels within": Case(
            message(nested(deep, PUT.SerializeToString())), path=TXN
        )
        for deep in (49, 50, 126, 127, 128, 1000, 4998)
    },
    "half a message on a stream": Case(message(b"ab", size=5), path=WATCH),
    "compressed on a stream": Case(message(REQUEST, flag=1), path=WATCH),
}


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    """The client ports of a rusd and an etcd."""
    with (
        LocalCluster(1, binary=[command(SUBJECT)], flags=FLAGS) as rusd,
        LocalCluster(1, binary=[command("etcd")], flags=FLAGS) as etcd,
    ):
        yield [int(one.endpoints[0].rpartition(":")[2]) for one in (rusd, etcd)]


def status(port: int, case: Case) -> tuple[str, str]:
    """(grpc-status, grpc-message) of the answer."""
    client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    # (The Huffman codes of its library take time quadratic in their length.)
    setattr(client.encoder, "encode", partial(client.encoder.encode, huffman=False))  # noqa: B010
    client.initiate_connection()
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "here",
        ":path": case.path,
        "content-type": "application/grpc",
        "te": "trailers",
        **case.headers,
    }
    client.send_headers(1, list(headers.items()))
    for start in range(0, len(case.body), FRAME):
        client.send_data(1, case.body[start : start + FRAME])
    client.end_stream(1)
    found: dict[str, str] = {}
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(client.data_to_send())
        while True:
            data = connection.recv(65536)
            assert data, "the connection was closed"
            for event in client.receive_data(data):
                if isinstance(event, (ResponseReceived, TrailersReceived)):
                    found.update(event.headers)
                if isinstance(event, StreamReset):
                    return "reset", str(event.error_code)
                if isinstance(event, StreamEnded):
                    return found["grpc-status"], found.get("grpc-message", "")
            connection.sendall(client.data_to_send())


@pytest.mark.parametrize("name", CASES)
def test_an_odd_call_ends_with_etcds_status(ports: list[int], name: str) -> None:
    rusd, etcd = (status(port, CASES[name]) for port in ports)
    assert rusd == etcd
