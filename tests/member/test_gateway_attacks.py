"""Attempts on the HTTP side of a client port, against one running member.

After each of them the member still answers others, has not grown beyond its bounds, and holds what
it held before.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from cluster.local import LocalCluster
from rusd.door.gateway.memory import ANSWER_MEMORY
from rusd.door.gateway.paths import PATHS
from rusd.proto import rpc_pb2, v3election_pb2, v3lock_pb2
from rusd.rpc.errors import Code
from tests.support.client import Client, Refused
from tests.support.http import Exchange, ask, raw
from tests.support.waiting import wait

MIB = 1 << 20
PUT = '{"key":"c211Z2dsZWQ=","value":"MQ=="}'


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(1, flags=["--host-whitelist=127.0.0.1"]) as one:
        yield one


@pytest.fixture
def member(cluster: LocalCluster) -> Iterator[str]:
    """The member's endpoint. It must answer afterwards, and hold no key `smuggled`."""
    endpoint = cluster.endpoints[0]
    yield endpoint
    assert count(endpoint, b"smuggled") == 0


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def count(endpoint: str, key: bytes) -> int:
    answer = ask(endpoint, "/v3/kv/range", f'{{"key":"{b64(key)}"}}')
    assert answer.status == 200, answer
    return int(json.loads(answer.body).get("count", "0"))


def connect(endpoint: str) -> socket.socket:
    host, _, port = endpoint.rpartition(":")
    return socket.create_connection((host, int(port)), 20)


def memory(cluster: LocalCluster) -> int:
    """Resident bytes of the member."""
    pid = cluster.members[0].pid
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


# Requests that two parsers may read in two ways

HIDDEN = f"POST /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(PUT)}\r\n\r\n{PUT}"


@pytest.mark.parametrize(
    "fields",
    [
        f"Content-Length: {len(HIDDEN) + 5}\r\nTransfer-Encoding: chunked",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(HIDDEN) + 5}",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        f"Content-Length: {len(HIDDEN) + 5}\r\nContent-Length: 5",
        f"Content-Length: {len(HIDDEN) + 5}, 5",
        "Content-Length: +5",
        "Content-Length: 5_0",
        "Content-Length: 0x5",
        "Content-Length: -1",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
        "X: a\r\n b\r\nContent-Length: 5",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked\r\nContent-Length: 5",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding\x00: chunked",
        "Content-Length: 5\rTransfer-Encoding: chunked",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "X\r: a\r\nContent-Length: 5",
        "Host: other\r\nContent-Length: 5",
    ],
    ids=repr,
)
def test_a_request_of_doubtful_length_is_refused_and_what_follows_it_is_not_read(
    member: str, fields: str
) -> None:
    sent = f"POST /v3/kv/range HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n\r\n0\r\n\r\n{HIDDEN}"
    answer = raw(member, sent.encode("latin-1"))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "chunks",
    [
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "-5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcdeX\r\n0\r\n\r\n",
        "5\r\nabcdef\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "\r\nabc",
    ],
    ids=repr,
)
def test_a_body_of_malformed_chunks_is_refused_and_what_follows_it_is_not_read(
    member: str, chunks: str
) -> None:
    head = "POST /v3/kv/range HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(member, f"{head}{chunks}{HIDDEN}".encode())
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "tcp", "h2c, websocket"])
def test_an_upgrade_to_something_else_changes_nothing(member: str, upgrade: str) -> None:
    fields = f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk"
    for path in ("/version", "/v3/kv/range"):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\nContent-Length: 0\r\n\r\n"
        closing = "GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        answer = raw(member, (head + closing).encode())
        assert b" 101 " not in answer
        assert answer.count(b"HTTP/1.1 ") == 2, answer


def test_http2_behind_http1_on_one_connection_is_refused(member: str) -> None:
    first = "GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = raw(member, f"{first}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{HIDDEN}".encode())
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1 200") == 1


# Pages of other origins, and other hosts


@pytest.mark.parametrize("path", sorted(PATHS))
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=["origin", "null", "fetch"],
)
def test_no_page_of_another_origin_calls(member: str, path: str, headers: dict[str, str]) -> None:
    for spelling in (path, path.replace("/v3/", "/v3beta/"), path.replace("/v3/", "/v3/%2e/")):
        answer = ask(member, spelling, PUT, headers=headers)
        assert answer.status in (403, 404), answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE"])
@pytest.mark.parametrize("path", ["/", "/health", "/console/", "/debug/vars", "/v3/nothing", "/x"])
def test_a_page_of_another_origin_sends_nothing_to_any_path(
    member: str, path: str, method: str
) -> None:
    headers = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    assert ask(member, path, PUT, method, headers).status == 403


def test_a_page_of_another_origin_gets_pages_as_from_etcd(member: str) -> None:
    answer = ask(member, "/version", method="GET", headers={"Origin": "http://other"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/v3/kv/put", "/v3/watch", "/health", "/metrics", "/nothing"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:2379", ""])
def test_a_name_that_is_not_listed_is_misdirected_whatever_it_asks(
    member: str, path: str, host: str
) -> None:
    answer = ask(member, path, PUT, headers={"Host": host})
    assert answer.status == 421
    assert b"DNS Rebinding" in answer.body
    answer = ask(member, path, b"", "OPTIONS", headers={"Host": host})
    assert answer.status == 421


def test_the_metrics_port_has_no_gateway(cluster: LocalCluster, member: str) -> None:
    endpoint = cluster.members[0].metrics_url.removeprefix("http://").rstrip("/")
    assert ask(endpoint, "/health", method="GET").status == 200
    for path in ("/v3/kv/range", "/v3/kv/put", "/v3beta/kv/range", "/v3/watch"):
        assert ask(endpoint, path, PUT).status == 404


# Bodies


def test_a_body_that_announces_too_much_is_refused_unread(member: str) -> None:
    head = "POST /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n"
    assert raw(member, head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/v3/kv/put", "/v3/watch", "/v3/lease/keepalive"])
def test_a_body_that_never_ends_is_cut_off(cluster: LocalCluster, member: str, path: str) -> None:
    before = memory(cluster)
    chunk = b"10000\r\n" + b'{"key":"' + b"A" * (0x10000 - 8) + b"\r\n"
    rest = b"10000\r\n" + b"A" * 0x10000 + b"\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(member) as connection:
        connection.settimeout(1)
        connection.sendall(head.encode() + chunk)
        with suppress(OSError):
            for _ in range(400):
                connection.sendall(rest)
    assert memory(cluster) - before < 32 * MIB


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2_000_000,
        b'{"a":' * 400_000,
        b'{"success":[' + b"{}," * 600_000 + b"{}]}",
        b'{"success":[' + b'{"request_range":{}},' * 90_000 + b"7]}",
        b"{" + b'"":1,' * 380_000 + b'"key":7}',
        b'{"key":"' + b"\\u0041" * 330_000 + b'"}',
        b'{"limit":' + b"9" * 2_000_000 + b"}",
        b'{"x":[' + b"1," * 900_000 + b"1]}",
    ],
    ids=["brackets", "objects", "operations", "mistake", "members", "escapes", "digits", "numbers"],
)
def test_others_are_served_while_a_hard_body_is_read(member: str, body: bytes) -> None:
    with Exchange(member, "/v3/kv/txn", body) as hard:
        began = time.monotonic()
        for _ in range(5):
            count(member, b"other")
        waited = time.monotonic() - began
        assert hard.rest().status in (200, 400)
    # (Half a second of a loaded machine; read in one piece it takes several.)
    assert waited < 5


# Permissions


def as_json(endpoint: str, path: str, token: str) -> tuple[int, str]:
    answer = ask(endpoint, path, "{}", headers={"Authorization": token} if token else {})
    if answer.status == 200:
        return 0, ""
    error = json.loads(answer.body)
    error = error.get("error", error)
    return error["code"], error["message"]


#: Holds all services, since the modules are imported.
MODULES = (rpc_pb2, v3election_pb2, v3lock_pb2)
POOL: Any = MODULES[0].DESCRIPTOR.pool


def as_grpc(endpoint: str, path: str, token: str) -> tuple[int, str]:
    method = POOL.FindMethodByName(PATHS[path][1:].replace("/", "."))
    request: type[Message] = message_factory.GetMessageClass(method.input_type)
    response: type[Message] = message_factory.GetMessageClass(method.output_type)
    with Client(endpoint, metadata={"token": token} if token else {}) as client:
        try:
            if method.server_streaming:
                with client.stream(PATHS[path], response) as stream:
                    stream.send(request())
                    stream.half_close()
                    stream.receive()
            else:
                client.call(PATHS[path], request(), response)
        except Refused as refused:
            return CODES[refused.code], refused.message
    return 0, ""


CODES = {code.name: int(code) for code in Code} | {"CANCELLED": 1}
#: Answered message by message, by permission of each; or they wait.
STREAMS = {"/v3/watch", "/v3/lease/keepalive", "/v3/election/observe"}


def test_nobody_may_do_with_json_what_may_not_be_done_with_grpc() -> None:
    with LocalCluster(1) as one:
        endpoint = one.endpoints[0]
        for path, body in (
            ("user/add", '{"name":"root","password":"r"}'),
            ("user/add", '{"name":"u","password":"p"}'),
            ("role/add", '{"name":"root"}'),
            ("user/grant", '{"user":"root","role":"root"}'),
            ("enable", "{}"),
        ):
            assert ask(endpoint, f"/v3/auth/{path}", body).status == 200
        login = ask(endpoint, "/v3/auth/authenticate", '{"name":"u","password":"p"}')
        user = json.loads(login.body)["token"]
        refused = 0
        for path in sorted(set(PATHS) - STREAMS):
            for token in ("", user, "wrong", f"{user}x"):
                mine, theirs = as_json(endpoint, path, token), as_grpc(endpoint, path, token)
                assert mine == theirs, (path, token)
                refused += mine[0] != 0
        assert refused > 150
        # A watch is refused in its first answers, as over gRPC.
        for token in ("", user):
            headers = {"Authorization": token} if token else {}
            body = '{"create_request":{"key":"YQ=="}}'
            with Exchange(endpoint, "/v3/watch", body, headers=headers) as watch:
                answer = json.loads(watch.line())["result"]
                assert answer["canceled"]
                assert answer["cancel_reason"]
        renewed = ask(endpoint, "/v3/lease/keepalive", '{"ID":1}')
        assert renewed.status in (400, 401)


# Streams whose clients do not read


def test_watchers_that_do_not_read_hold_little_and_miss_nothing(
    cluster: LocalCluster, member: str
) -> None:
    value = os.urandom(512 << 10)
    body = b'{"create_request":{"key":"c2xvdw=="}}'
    with ExitStack() as watches:
        slow = [watches.enter_context(Exchange(member, "/v3/watch", body)) for _ in range(16)]
        for watch in slow:
            assert b"created" in watch.line()
        before = memory(cluster)
        with Client(member) as client:
            for _ in range(40):
                client.put(b"slow", value)
        # 16 watchers of 20 MiB of events, 27 MiB as JSON.
        assert memory(cluster) - before < 150 * MIB
        seen = 0
        while seen < 40:
            seen += slow[0].line().count(b'"mod_revision"')
        assert seen == 40


def test_long_answers_that_are_not_read_do_not_add_up(cluster: LocalCluster, member: str) -> None:
    with Client(member) as client:
        for number in range(20):
            client.put(b"long%d" % number, os.urandom(MIB))
        answer = len(client.range(b"long", b"lonh").SerializeToString())
    before = memory(cluster)
    request = b'{"key":"bG9uZw==","range_end":"bG9uaA=="}'
    line = "POST /v3/kv/range HTTP/1.1\r\nHost: 127.0.0.1"
    head = f"{line}\r\nContent-Length: {len(request)}\r\n\r\n"
    # What is held, and the copies of one answer while it is made: rows, joined, and as a message.
    # All 40 would be 800 MiB.
    most = ANSWER_MEMORY + answer + 3 * answer
    with ExitStack() as connections:
        for _ in range(40):
            connection = connections.enter_context(connect(member))
            connection.sendall(head.encode() + request)
        time_left = time.monotonic() + 1
        while time.monotonic() < time_left:
            count(member, b"other")
            assert memory(cluster) - before < most
    # Clients that do not read are cut off when others wait.
    with ExitStack() as connections:
        for _ in range(3):
            connection = connections.enter_context(connect(member))
            connection.sendall(head.encode() + request)
        whole = ask(member, "/v3/kv/range", request)
        assert len(json.loads(whole.body)["kvs"]) == 20


# WebSockets


def upgraded(endpoint: str, path: str = "/v3/watch", *fields: str) -> socket.socket:
    connection = connect(endpoint)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {endpoint}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head
    return connection


def frame(payload: bytes, opcode: int = 1, *, masked: bool = True, final: bool = True) -> bytes:
    size = len(payload)
    short, long = size, b""
    if size >= 126:
        short, form = (126, ">H") if size < 1 << 16 else (127, ">Q")
        long = struct.pack(form, size)
    head = bytes([(0x80 if final else 0) | opcode, (0x80 if masked else 0) | short]) + long
    # (A mask of zeros leaves the payload as it is.)
    return head + (bytes(4) if masked else b"") + payload


def received(connection: socket.socket) -> tuple[int, bytes]:
    """One message from the server, or control frame; its opcode."""
    opcode, final, payload = received_frame(connection)
    while not final:
        following, final, more = received_frame(connection)
        assert following == 0
        payload += more
    return opcode, payload


def received_frame(connection: socket.socket) -> tuple[int, bool, bytes]:
    """One frame from the server: opcode, whether it is the last of its message, payload."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = connection.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    first, second = exactly(2)
    assert not second & 0x80
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(exactly(2), "big")
    elif size == 127:
        size = int.from_bytes(exactly(8), "big")
    return first & 0x0F, bool(first & 0x80), exactly(size)


CREATE = b'{"create_request":{"key":"d3M="}}'


def test_a_watch_and_keep_alives_work_over_a_websocket(member: str) -> None:
    with upgraded(member) as connection:
        connection.sendall(frame(CREATE))
        assert b'"created":true' in received(connection)[1]
        ask(member, "/v3/kv/put", '{"key":"d3M=","value":"MQ=="}')
        opcode, event = received(connection)
        assert (opcode, json.loads(event)["result"]["events"][0]["kv"]["value"]) == (1, "MQ==")
        connection.sendall(frame(b'{"create_request":', final=False))
        connection.sendall(frame(b'{"key":"d3M="}}', 0))
        assert b'"watch_id":"1"' in received(connection)[1]
        connection.sendall(frame(b"\x03\xe8", 8))
        assert received(connection)[0] == 8
    with upgraded(member, "/v3/lease/keepalive") as connection:
        for number in (b"1", b"2"):
            connection.sendall(frame(b'{"ID":"%b"}' % number))
            assert json.loads(received(connection)[1])["result"]["ID"] == number.decode()


def test_long_messages_that_are_not_read_are_held_in_part(
    cluster: LocalCluster, member: str
) -> None:
    value = os.urandom(1_400_000)
    with Client(member) as client:
        client.put(b"longest", value)
        revision = client.put(b"longest", value).header.revision
    wanted = f'"key":"{b64(b"longest")}","start_revision":{revision},"prev_kv":true'
    before = memory(cluster)
    with ExitStack() as connections:
        slow = [connections.enter_context(upgraded(member)) for _ in range(40)]
        for connection in slow:
            connection.sendall(frame(f'{{"create_request":{{{wanted}}}}}'.encode()))
            assert b'"created":true' in received(connection)[1]
        # A message for each, and little of its JSON: all that is another 150 MB.
        most = len(slow) * 2 * len(value) + 48 * MIB
        time_left = time.monotonic() + 2
        while time.monotonic() < time_left:
            count(member, b"other")
            assert memory(cluster) - before < most
        opcode, final, begin = received_frame(slow[0])
        assert (opcode, final) == (1, False)
        assert len(begin) < 256 << 10
        while not final:
            opcode, final, more = received_frame(slow[0])
            assert opcode == 0
            begin += more
        (event,) = json.loads(begin)["result"]["events"]
        assert event["kv"]["value"] == event["prev_kv"]["value"] == b64(value)


def test_a_first_message_may_come_with_the_handshake(member: str) -> None:
    with connect(member) as connection:
        head = (
            f"GET /v3/watch HTTP/1.1\r\nHost: {member}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.sendall(head.encode() + frame(CREATE))
        answer = b""
        while b'"created":true' not in answer:
            more = connection.recv(4096)
            assert more, answer
            answer += more


def ended(connection: socket.socket) -> bool:
    """Return whether the server closes the connection, after any response."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "frames",
    [
        frame(CREATE, masked=False),
        frame(b"", 9, masked=False),
        frame(CREATE) + frame(CREATE, masked=False),
        b"\x81\xff" + struct.pack(">Q", 1 << 62) + bytes(4),
        b"\x81\xff" + struct.pack(">Q", 64 << 20) + bytes(4),
        frame(b"x" * 126, 9),
        frame(b"", 9, final=False),
        frame(b"", 0),
        frame(b"", 3),
        frame(b"", 11),
        b"\xc1\x80" + bytes(4),
        b"\xf1\x80" + bytes(4),
        frame(b"\xff\xfe"),
        frame(b"", 8),
        frame(b"\x00", 8),
        frame(b"a", final=False) + frame(b"b"),
    ],
    ids=lambda frames: frames[:12].hex(),
)
def test_frames_against_the_rules_end_their_connection(member: str, frames: bytes) -> None:
    with upgraded(member) as connection:
        connection.sendall(frames)
        assert ended(connection)


def test_a_message_that_never_ends_is_cut_off(cluster: LocalCluster, member: str) -> None:
    before = memory(cluster)
    with upgraded(member) as connection:
        try:
            connection.sendall(frame(b"{", final=False))
            for _ in range(500):
                connection.sendall(frame(b" " * 60_000, 0, final=False))
        except OSError:
            pass
        assert ended(connection)
    assert memory(cluster) - before < 32 * MIB


def test_a_flood_of_pings_delays_nobody_for_long(member: str) -> None:
    with upgraded(member) as connection:
        connection.setblocking(False)
        flood = frame(b"", 9) * 2000
        longest = 0.0
        for _ in range(50):
            with suppress(BlockingIOError):
                connection.send(flood)
            began = time.monotonic()
            count(member, b"other")
            longest = max(longest, time.monotonic() - began)
        assert longest < 3


def test_a_client_that_pings_and_does_not_read_is_not_buffered_for(
    cluster: LocalCluster, member: str
) -> None:
    before = memory(cluster)
    with upgraded(member) as connection:
        connection.settimeout(0.5)
        flood = frame(b"x" * 125, 9) * 1000
        try:
            for _ in range(400):
                connection.sendall(flood)
        except TimeoutError:
            pass
        count(member, b"other")
        assert memory(cluster) - before < 32 * MIB


def test_many_sockets_are_open_at_a_time_and_leave_nothing(
    cluster: LocalCluster, member: str
) -> None:
    with ExitStack() as connections:
        for _ in range(200):
            connection = connections.enter_context(upgraded(member))
            connection.sendall(frame(CREATE))
            assert b"created" in received(connection)[1]
        assert watchers(member) >= 200
    limit = time.monotonic() + 15
    while watchers(member):
        assert time.monotonic() < limit
        time.sleep(0.05)


def watchers(endpoint: str) -> int:
    page = ask(endpoint, "/metrics", method="GET").body
    found = re.search(rb"^etcd_debugging_mvcc_watcher_total (\d+)", page, re.MULTILINE)
    assert found
    return int(found[1])


def test_a_compressed_body_is_not_decompressed(member: str) -> None:
    body = gzip.compress(bytes(1 << 20))
    answer = ask(member, "/v3/kv/range", body, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400, answer
    put = gzip.compress(PUT.encode())
    answer = ask(member, "/v3/kv/put", put, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400, answer
    # As in etcd, the field changes nothing.
    for coding in ("gzip", "deflate", "br", "zstd", "identity", "unknown"):
        answer = ask(member, "/v3/kv/range", '{"key":"YQ=="}', headers={"Content-Encoding": coding})
        assert answer.status == 200, answer


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/v3/kv/range%", "Host: 127.0.0.1", 400),
        ("/v3/kv/range%zz", "Host: 127.0.0.1", 400),
        ("/v3/kv/range%4", "Host: 127.0.0.1", 400),
        ("/v3/kv/rang%65", "Host: 127.0.0.1", 200),
        ("/v3/kv/range?%zz", "Host: 127.0.0.1", 200),
        ("/v3/kv/range#fragment", "Host: 127.0.0.1", 404),
        ("/v3/kv/range", "Host: 127.0.0.1 evil", 400),
        ("/v3/kv/range", "Host: 127.0.0.1/evil", 400),
        ("/v3/kv/range", "Host: 127.0.0.1\r\nExpect: much", 417),
    ],
)
def test_what_is_no_request_has_the_status_that_etcd_gives_it(
    member: str, target: str, fields: str, status: int
) -> None:
    body = '{"key":"YQ=="}'
    fields += f"\r\nConnection: close\r\nContent-Length: {len(body)}"
    head = f"POST {target} HTTP/1.1\r\n{fields}\r\n\r\n{body}"
    assert raw(member, head.encode()).startswith(b"HTTP/1.1 %d " % status)


#: What may follow a chunk, and is none.
NO_CHUNKS = [
    b"zz\r\n", b"-5\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabcdeXX", b"5\nabcde\n", b"\0\0\r\n",
    b"1" * 9000, b"0\r\nno trailer\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("malformed", NO_CHUNKS, ids=lambda chunk: repr(chunk[:12]))
def test_a_stream_with_a_malformed_chunk_reads_no_more_and_leaves_nothing(
    member: str, malformed: bytes
) -> None:
    with chunked_stream(member, "/v3/watch", CREATE) as watch:
        watch.sendall(malformed + HIDDEN.encode())
        # As in etcd, only the requests have ended: a watch goes on until its client closes it.
        count(member, b"other")
        ask(member, "/v3/kv/put", '{"key":"d3M=","value":"MQ=="}')
        until(watch, b'"value":"MQ=="')
    wait(lambda: None if watchers(member) else True, "the watcher stays", 15, pause=0.01)
    with chunked_stream(member, "/v3/lease/keepalive", b'{"ID":7}') as renewals:
        renewals.sendall(malformed + HIDDEN.encode())
        rest = until(renewals, b"0\r\n\r\n")
        assert ended(renewals)
        assert b"HTTP/1.1" not in rest


def chunked_stream(endpoint: str, path: str, request: bytes) -> socket.socket:
    """A stream whose first request is answered, and whose body goes on."""
    connection = connect(endpoint)
    head = f"POST {path} HTTP/1.1\r\nHost: {endpoint}\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(b"%b%x\r\n%b\r\n" % (head.encode(), len(request), request))
    until(connection, b'{"result"')
    return connection


def until(connection: socket.socket, wanted: bytes) -> bytes:
    """Read up to `wanted` and what came with it."""
    read = b""
    while wanted not in read:
        more = connection.recv(65536)
        assert more, read
        read += more
    return read


@pytest.mark.parametrize(
    "fields", [("Origin: http://evil.example",), ("Sec-Fetch-Site: cross-site",)], ids=str
)
def test_a_socket_of_a_page_of_another_origin_writes_nothing(
    member: str, fields: tuple[str, ...]
) -> None:
    for path in ("/v3/kv/put", "/v3/lease/keepalive", "/v3/watch", "/v3/kv/range"):
        with upgraded(member, path, *fields) as connection:
            connection.sendall(frame(PUT.encode()))
            assert json.loads(received(connection)[1])["code"] == 7


def test_a_socket_is_misdirected_by_its_host_as_well(member: str) -> None:
    head = (
        "GET /v3/watch HTTP/1.1\r\nHost: evil\r\nUpgrade: websocket\r\nConnection: Upgrade, close"
        "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert raw(member, head.encode()).startswith(b"HTTP/1.1 421 ")
