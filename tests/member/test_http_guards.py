"""Every guard of the client port acts on a request alike, however its bytes arrive.

A request that arrives whole is served without aiohttp, any other by aiohttp (`rusd/door/http`), and
the head of the request before it may be the one that is kept as read.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from rusd.door.http.connection import FIELDS, SECTION
from tests.support.http import ask

GOOD, EVIL = "http://good.example", "http://evil.example"
PUT = b'{"key":"YQ==","value":"MQ=="}'
READ = b'{"key":"YQ=="}'


class Request(NamedTuple):
    path: str
    body: bytes = b""
    fields: tuple[str, ...] = ()
    method: str = "POST"
    host: str = "127.0.0.1"

    def head(self, *fields: str) -> bytes:
        lines = (f"{self.method} {self.path} HTTP/1.1", f"Host: {self.host}", *self.fields, *fields)
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def whole(self, *fields: str) -> bytes:
        return self.head(f"Content-Length: {len(self.body)}", *fields) + self.body

    def chunked(self) -> bytes:
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return self.head("Transfer-Encoding: chunked") + chunk + b"0\r\n\r\n"


class Site(NamedTuple):
    plain: str
    metrics: str
    secure: str
    context: ssl.SSLContext
    root: str
    user: str


#: Status, fields and, of a refusal, the body.
Seen = tuple[int, list[tuple[str, str]], bytes]


class Connection:
    """A connection whose responses are read one by one."""

    def __init__(self, endpoint: str, context: ssl.SSLContext | None) -> None:
        host, _, port = endpoint.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        self._file = self._socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.003)  # so that it most likely arrives on its own

    def response(self) -> Seen:
        status = int(self._file.readline().split()[1])
        fields = []
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            fields.append((name.lower(), value))
        length, read = dict(fields).get("content-length"), self._file
        if length is not None:
            body = read.read(int(length))
        elif ("transfer-encoding", "chunked") in fields:
            body = b""
            while size := int(read.readline(), 16):
                body += read.read(size + 2)[:-2]
            read.readline()
        else:
            body = read.read()
        left_out = {"date", "content-length", "transfer-encoding", "connection"}
        kept = sorted(field for field in fields if field[0] not in left_out)
        return status, kept, body if status != 200 else b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    tls = authority.tls(verify_clients=True)
    named = authority.issue("root")
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.load_cert_chain(named.cert, named.key)
    flags = ["--bcrypt-cost=4", "--host-whitelist=127.0.0.1", f"--cors={GOOD}"]
    with LocalCluster(1, flags=flags) as plain, LocalCluster(1, flags=flags, tls=tls) as secure:
        endpoint = plain.endpoints[0]
        tokens = [_with_users(endpoint, name) for name in ("root", "u")]
        connection = Connection(secure.endpoints[0], context)
        for path, body in ENABLE:
            connection.send(Request(f"/v3/auth/{path}", body.encode()).whole())
            assert connection.response()[0] == 200
        connection.close()
        metrics = plain.members[0].metrics_url.removeprefix("http://").rstrip("/")
        yield Site(endpoint, metrics, secure.endpoints[0], context, *tokens)


ENABLE = [
    ("user/add", '{"name":"root","password":"root"}'),
    ("user/add", '{"name":"u","password":"u"}'),
    ("role/add", '{"name":"root"}'),
    ("user/grant", '{"user":"root","role":"root"}'),
    ("enable", "{}"),
]


def _with_users(endpoint: str, name: str) -> str:
    """The token of a user; the first call enables authentication."""
    for path, body in ENABLE if name == "root" else ():
        assert ask(endpoint, f"/v3/auth/{path}", body).status == 200
    login = json.dumps({"name": name, "password": name})
    token: str = json.loads(ask(endpoint, "/v3/auth/authenticate", login).body)["token"]
    return token


def whole(connection: Connection, request: Request, allowed: Request) -> Seen:
    connection.send(request.whole())
    return connection.response()


def in_pieces(connection: Connection, request: Request, allowed: Request) -> Seen:
    sent = request.whole()
    middle = len(sent) // 2
    connection.send(sent[:7], sent[7:middle], sent[middle:])
    return connection.response()


def chunked(connection: Connection, request: Request, allowed: Request) -> Seen:
    connection.send(request.chunked())
    return connection.response()


def left_to_aiohttp(connection: Connection, request: Request, allowed: Request) -> Seen:
    connection.send(request.whole("Expect: 100-continue"))
    return connection.response()


def behind_an_allowed_one(connection: Connection, request: Request, allowed: Request) -> Seen:
    """On a connection whose last head is the same but for the fields that matter."""
    for _ in range(2):
        connection.send(allowed.whole())
        assert connection.response()[0] == 200
    connection.send(request.whole())
    return connection.response()


def pipelined(connection: Connection, request: Request, allowed: Request) -> Seen:
    connection.send(allowed.whole() + request.whole())
    assert connection.response()[0] == 200
    return connection.response()


def behind_a_chunked_one(connection: Connection, request: Request, allowed: Request) -> Seen:
    connection.send(allowed.chunked())
    assert connection.response()[0] == 200
    connection.send(request.whole())
    return connection.response()


WAYS = [in_pieces, chunked, left_to_aiohttp, behind_an_allowed_one, pipelined, behind_a_chunked_one]

WRITE = Request("/v3/kv/put", PUT)
RANGE = Request("/v3/kv/range", READ)
VERSION = Request("/version", method="GET")
AS_ROOT, AS_USER = "Authorization: {root}", "Authorization: {user}"

#: What is guarded, the request, its status, and one that is allowed.
GUARDS: dict[str, tuple[Request, int, Request]] = {
    "another host": (VERSION._replace(host="evil.example"), 421, VERSION),
    "another host writes": (
        WRITE._replace(host="evil.example", fields=(AS_ROOT,)), 421,
        WRITE._replace(fields=(AS_ROOT,)),
    ),
    "no host": (VERSION._replace(host=""), 421, VERSION),
    "a malformed host": (VERSION._replace(host="127.0.0.1 x"), 400, VERSION),
    "two hosts": (VERSION._replace(fields=("Host: 127.0.0.1",)), 400, VERSION),
    "a target of another host": (
        VERSION._replace(path="http://evil.example/version"), 421, VERSION,
    ),
    "a port of the host": (VERSION._replace(host="127.0.0.1:1"), 200, VERSION),
    "a page of another origin writes": (
        WRITE._replace(fields=(AS_ROOT, f"Origin: {EVIL}")), 403,
        WRITE._replace(fields=(AS_ROOT, f"Origin: {GOOD}")),
    ),
    "a page of another site writes": (
        WRITE._replace(fields=(AS_ROOT, "Sec-Fetch-Site: cross-site")), 403,
        WRITE._replace(fields=(AS_ROOT, "Sec-Fetch-Site: same-origin")),
    ),
    "an origin that is allowed": (
        RANGE._replace(fields=(AS_ROOT, f"Origin: {GOOD}")), 200,
        RANGE._replace(fields=(AS_ROOT,)),
    ),
    "an origin that is not allowed": (
        RANGE._replace(fields=(AS_ROOT, f"Origin: {EVIL}")), 403,
        RANGE._replace(fields=(AS_ROOT, f"Origin: {GOOD}")),
    ),
    "a question before a write": (
        WRITE._replace(method="OPTIONS", body=b"", fields=(f"Origin: {GOOD}",)), 200,
        RANGE._replace(fields=(AS_ROOT,)),
    ),
    "no token": (WRITE, 400, WRITE._replace(fields=(AS_ROOT,))),
    "a wrong token": (
        WRITE._replace(fields=(AS_ROOT + "x",)), 401, WRITE._replace(fields=(AS_ROOT,)),
    ),
    "a user without permission": (
        WRITE._replace(fields=(AS_USER,)), 403, WRITE._replace(fields=(AS_ROOT,)),
    ),
    "another method": (
        WRITE._replace(method="PUT", fields=(AS_ROOT,)), 501, WRITE._replace(fields=(AS_ROOT,)),
    ),
    "a method that nobody knows": (
        WRITE._replace(method="FETCH-ALL", fields=(AS_ROOT,)), 501,
        WRITE._replace(fields=(AS_ROOT,)),
    ),
    "a method in lower case": (VERSION._replace(method="get"), 405, VERSION),
    "a malformed method": (VERSION._replace(method="G{T"), 400, VERSION),
    "an encoded path": (
        WRITE._replace(path="/v3/kv/%70ut", fields=(f"Origin: {EVIL}",)), 403,
        WRITE._replace(fields=(AS_ROOT,)),
    ),
    "a long body": (
        WRITE._replace(body=b" " * (4 << 20), fields=(AS_ROOT,)), 413,
        WRITE._replace(fields=(AS_ROOT,)),
    ),
    "a field of nearly 1 MiB": (
        VERSION._replace(fields=("A: " + "x" * (SECTION - 200),)), 200, VERSION,
    ),
    "more fields than aiohttp takes by default": (
        VERSION._replace(fields=tuple(f"A{n}: x" for n in range(FIELDS - 100))), 200, VERSION,
    ),
    "a long field": (VERSION._replace(fields=("A: " + "x" * SECTION,)), 431, VERSION),
    "many fields": (
        VERSION._replace(fields=tuple(f"A{n}: x" for n in range(FIELDS))), 431, VERSION,
    ),
}  # fmt: skip


def _seen(
    endpoint: str,
    context: ssl.SSLContext | None,
    way: Callable[[Connection, Request, Request], Seen],
    *requests: Request,
) -> Seen:
    connection = Connection(endpoint, context)
    try:
        return way(connection, *requests)
    finally:
        connection.close()


def _filled(request: Request, site: Site) -> Request:
    fields = tuple(
        field.replace("{root}", site.root).replace("{user}", site.user) for field in request.fields
    )
    return request._replace(fields=fields)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_acts_alike_on_a_request_that_arrives_whole_and_on_any_other(
    site: Site, guard: str
) -> None:
    request, status, allowed = GUARDS[guard]
    request, allowed = _filled(request, site), _filled(allowed, site)
    expected = _seen(site.plain, None, whole, request, allowed)
    assert expected[0] == status
    for way in WAYS:
        seen = _seen(site.plain, None, way, request, allowed)
        # (What is refused unread has no page.)
        assert seen == expected or seen[0] == expected[0] in (413, 431), way.__name__


def test_the_metrics_port_has_no_gateway_however_a_request_arrives(site: Site) -> None:
    for request in (WRITE, RANGE, WRITE._replace(path="/v3beta/kv/put")):
        for way in (whole, *WAYS):
            assert _seen(site.metrics, None, way, request, VERSION)[0] == 404, way.__name__


def test_a_common_name_is_refused_however_a_request_arrives(site: Site) -> None:
    expected = _seen(site.secure, site.context, whole, WRITE, VERSION)
    assert expected[0] == 400
    assert b"CommonName" in expected[2]
    for way in WAYS:
        assert _seen(site.secure, site.context, way, WRITE, VERSION) == expected, way.__name__
