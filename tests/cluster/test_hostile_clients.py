"""A single hostile client of the leader: it keeps leading, and the calls of others are answered.

Bounds are generous, for machines that are busy: without any of this work being put off, each of
these clients stops the leader for many seconds.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.door.grpc import status
from rusd.door.h2 import PREFACE, block
from rusd.door.h2 import frames as wire
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client
from tests.support.pair import SUBJECT, command

#: Calls of others while the attack lasts, and seconds for one of them.
WATCHED = 150
PATIENCE = 3.0
#: Bytes of an answer that are sent before its client gives a window.
HEAD_BYTES = 9 + len(status.HEAD)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    # (Twice the usual election timeout: what else this machine does must not cost leadership.)
    flags = ["--election-timeout=2000"]
    with LocalCluster(3, binary=[command(SUBJECT)], flags=flags) as running:
        yield running


class Hostile:
    """A connection that sends what it likes, and throws away what it gets."""

    def __init__(self, endpoint: str, initial_window: int) -> None:
        host, port = endpoint.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)))
        self.received = 0
        self.send(PREFACE + settings(initial_window) + wire.window_update(0, 1 << 30))
        threading.Thread(target=self._discard, daemon=True).start()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _discard(self) -> None:
        try:
            while data := self._socket.recv(1 << 16):
                self.received += len(data)
        except OSError:
            return

    def wait_answers(self, number: int) -> None:
        """Wait until this many responses are made, and wait for a window."""
        give_up = time.monotonic() + 60
        while self.received < number * HEAD_BYTES:
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def close(self) -> None:
        self._socket.close()


def settings(*windows: int) -> bytes:
    payload = b"".join(struct.pack(">HL", wire.INITIAL_WINDOW_SIZE, one) for one in windows)
    return wire.frame(wire.SETTINGS, 0, 0, payload)


def calls(number: int, path: str, raw: bytes, flag: int = 0, **fields: str) -> bytes:
    head = block(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            ("content-type", "application/grpc"),
            *((key.replace("_", "-"), value) for key, value in fields.items()),
        ]
    )
    body = struct.pack(">BL", flag, len(raw)) + raw
    return b"".join(
        wire.frame(wire.HEADERS, wire.END_HEADERS, stream, head)
        + wire.frame(wire.DATA, wire.END_STREAM, stream, body)
        for stream in range(1, 2 * number, 2)
    )


RANGE = rpc.RangeRequest(key=b"k").SerializeToString()


def many_initial_windows(endpoint: str) -> Hostile:
    hostile = Hostile(endpoint, 0)
    hostile.send(calls(4000, "/etcdserverpb.KV/Range", RANGE))
    hostile.wait_answers(4000)
    for _ in range(3):
        hostile.send(settings(*(number % 2 for number in range(2700))))
    return hostile


def window_updates(endpoint: str) -> Hostile:
    hostile = Hostile(endpoint, 0)
    hostile.send(calls(10_000, "/etcdserverpb.KV/Range", RANGE))
    hostile.wait_answers(10_000)
    hostile.send(wire.window_update(0, 1) * 460)
    return hostile


def metrics(endpoint: str) -> Hostile:
    hostile = Hostile(endpoint, 1 << 20)
    get = block([(":method", "GET"), (":scheme", "http"), (":path", "/metrics")])
    hostile.send(
        b"".join(wire.frame(wire.HEADERS, 5, stream, get) for stream in range(1, 10_000, 2))
    )
    return hostile


def gzip_messages(endpoint: str) -> Hostile:
    hostile = Hostile(endpoint, 1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    plain = rpc.PutRequest(key=b"k", value=bytes(2_000_000)).SerializeToString()
    packed = packer.compress(plain) + packer.flush()
    hostile.send(calls(1000, "/etcdserverpb.KV/Put", packed, 1, grpc_encoding="gzip"))
    return hostile


@pytest.mark.parametrize("attack", [many_initial_windows, window_updates, metrics, gzip_messages])
def test_leadership_stays_and_others_are_answered(
    cluster: LocalCluster, attack: Callable[[str], Hostile]
) -> None:
    leader = cluster.endpoints[cluster.wait_leader()]
    with Client(leader) as client:
        client.put(b"k", b"v")
        term = client.status().raftTerm
        hostile = attack(leader)
        longest = 0.0
        try:
            for _ in range(WATCHED):
                start = time.monotonic()
                client.put(b"other", b"v")
                client.range(b"other")
                longest = max(longest, time.monotonic() - start)
        finally:
            hostile.close()
        assert longest < PATIENCE
        assert client.status().raftTerm == term


#: Connections that read nothing, and calls of each: seconds of work for the member.
SLOW, SLOW_CALLS = 400, 400
#: Seconds that a member may work until a new connection has its first answer; some 0.3 are needed
#: to begin with all of them.
WORK = 2.0


def slow_reader(endpoint: str, requests: bytes) -> socket.socket:
    """Connect, and send all requests."""
    host, port = endpoint.rsplit(":", 1)
    client = socket.create_connection((host, int(port)))
    client.setblocking(False)
    data = PREFACE + settings(1 << 20) + wire.window_update(0, 1 << 30) + requests
    assert client.send(data) == len(data)
    return client


def test_a_new_connection_is_answered_soon_beside_many_that_read_nothing(
    cluster: LocalCluster,
) -> None:
    """They came at the same time. Measured by the processor's time of the loop: others on this
    machine do not count, but what it does while this process waits for a processor does.
    """
    index = cluster.wait_leader()
    endpoint, pid = cluster.endpoints[index], cluster.members[index].pid
    used = Path(f"/proc/{pid}/task/{pid}/schedstat")
    get = rpc.RangeRequest(key=b"slow", serializable=True)
    requests = calls(SLOW_CALLS, "/etcdserverpb.KV/Range", get.SerializeToString())
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(slow_reader(endpoint, requests))
        before = int(used.read_text().split()[0])
        with Client(endpoint) as client:
            client.range(b"slow", serializable=True, timeout=60)
        assert int(used.read_text().split()[0]) - before < WORK * 1e9
