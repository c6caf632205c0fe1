"""The JSON gateway: rusd and etcd answer the same request with the same bytes.

Left out of the comparison: ids, terms, sizes and versions, and white space between tokens, which Go
inserts or not depending on the build. An etcd before 3.6 words errors otherwise (grpc-gateway 1):
beside it only what succeeds is compared.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.http import Answer, Exchange, ask
from tests.support.pair import Pair, oracle_version

#: Headers that are compared.
HEADERS = frozenset(
    (
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "allow",
        "content-type",
        "grpc-metadata-content-type",
        "location",
        "www-authenticate",
        "x-content-type-options",
    )
)
_IDS = re.compile(
    rb'"(cluster_id|member_id|raft_term|leader|raftIndex|raftTerm|raftAppliedIndex|dbSize'
    rb'|dbSizeInUse|version|storageVersion|hash|targetID)":("?)[\w.]+"?'
)
_MEMBER = re.compile(rb'"(ID|memberID)":"\d{12,}"')
_URLS = re.compile(rb"http://127\.0\.0\.1:\d+")
_SPACE = re.compile(rb', (?=["{\[])')


def comparable(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    body = answer.body.replace("\N{NO-BREAK SPACE}".encode(), b" ")
    for pattern, to in ((_IDS, rb'"\1":X'), (_MEMBER, rb'"\1":X'), (_URLS, b"URL"), (_SPACE, b",")):
        body = pattern.sub(to, body)
    kept = {name: value for name, value in answer.headers.items() if name in HEADERS}
    return answer.status, kept, body


@pytest.fixture(scope="module")
def both(pair: Pair) -> Iterator[Pair]:
    """A pair with some keys and leases, the same on both."""
    for endpoint in pair.endpoints:
        for body in (
            '{"key":"YQ==","value":"MQ=="}',
            '{"key":"YQ==","value":"Mg=="}',
            '{"key":"Yg==","value":"Mw=="}',
        ):
            assert ask(endpoint, "/v3/kv/put", body).status == 200
        assert ask(endpoint, "/v3/lease/grant", '{"ID":7,"TTL":1000}').status == 200
    yield pair


def same(pair: Pair, *request: object, **options: object) -> Answer:
    """Both answer `request` alike; returns rusd's answer."""
    mine, theirs = (
        ask(endpoint, *request, **options)  # type: ignore[arg-type]
        for endpoint in pair.endpoints
    )
    if oracle_version() < (3, 6):
        if mine.status == theirs.status == 200:
            assert comparable(mine)[2].rstrip() == comparable(theirs)[2].rstrip()
        return mine
    assert comparable(mine) == comparable(theirs)
    return mine


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


A = '{"key":"YQ=="}'

#: Requests that succeed.
GOOD = [
    ("/v3/kv/range", A),
    ("/v3/kv/range", '{"key":"YQ"}'),
    ("/v3/kv/range", '{"key":"AA==","range_end":"AA==","limit":"1","keys_only":true}'),
    ("/v3/kv/range", '{"key":"AA==","rangeEnd":"AA==","sortOrder":"DESCEND","sortTarget":"MOD"}'),
    ("/v3/kv/range", '{"key":"AA==","range_end":"AA==","sort_order":2,"sort_target":3}'),
    ("/v3/kv/range", '{"key":"YQ==","sort_order":"NO_SUCH"}'),
    ("/v3/kv/range", '{"key":"YQ==","unknown":[1,{"a":[null]}],"revision":null}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":1e0,"revision":"0"}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":10e-1,"revision":-0}'),
    ("/v3/kv/range", '  \n{"key":"YQ=="} and more'),
    ("/v3/kv/range", '{"k\\u0065y":"Y\\u0051=="}'),
    ("/v3/kv/range", '{"key":"-_=="}'),
    ("/v3/kv/range", '{"key":"_-_-"}'),
    ("/v3/kv/range", '{"key":"YR=="}'),
    ("/v3/kv/range", '{"key":"bm9uZQ==","count_only":true}'),
    ("/v3/kv/txn", "{}"),
    (
        "/v3/kv/txn",
        '{"compare":[{"key":"YQ==","result":"GREATER","target":"VERSION","version":1}],'
        '"success":[{"request_range":{"key":"YQ=="}},{"requestRange":{"key":"eg=="}}]}',
    ),
    (
        "/v3/kv/txn",
        '{"compare":[{"key":"YQ==","target":"MOD","mod_revision":"0"}],'
        '"failure":[{"request_txn":{"success":[{"request_range":{"key":"Yg=="}}]}}]}',
    ),
    ("/v3/lease/timetolive", '{"ID":"99"}'),
    ("/v3/kv/lease/timetolive", '{"ID":99,"keys":true}'),
    ("/v3/lease/leases", ""),
    ("/v3/kv/lease/leases", "{}"),
    ("/v3/lease/keepalive", '{"ID":"7"}'),
    ("/v3/lease/keepalive", '{"ID":"7"}{"ID":8}\n{"ID":"7"}'),
    ("/v3/lease/keepalive", '{"ID":"99"}'),
    ("/v3/cluster/member/list", ""),
    ("/v3/maintenance/alarm", '{"action":"GET"}'),
    ("/v3/auth/status", "{}"),
]

#: Requests that are refused, or need grpc-gateway 2 to be answered the same.
BAD = [
    ("/v3/kv/range", ""),
    ("/v3/kv/range", " "),
    ("/v3/kv/range", "{"),
    ("/v3/kv/range", '{"key":"YQ=='),
    ("/v3/kv/range", '{"key"'),
    ("/v3/kv/range", '{"key":'),
    ("/v3/kv/range", '{"key" "YQ=="}'),
    ("/v3/kv/range", '{"key":"YQ=="'),
    ("/v3/kv/range", '{"key":"YQ==",}'),
    ("/v3/kv/range", '{"key":"YQ==" "limit":1}'),
    ("/v3/kv/range", "{key:1}"),
    ("/v3/kv/range", '{"key":nul}'),
    ("/v3/kv/range", '{"key":NaN}'),
    ("/v3/kv/range", '{"key":-Infinity}'),
    ("/v3/kv/range", '{"key":[1 2]}'),
    ("/v3/kv/range", '{"key":[1,]}'),
    ("/v3/kv/range", '{"limit":1.}'),
    ("/v3/kv/range", '{"limit":1e}'),
    ("/v3/kv/range", '{"limit":01}'),
    ("/v3/kv/range", '{"limit":-}'),
    ("/v3/kv/range", '{"key":"\\x"}'),
    ("/v3/kv/range", '{"key":"\\u00zz"}'),
    ("/v3/kv/range", '{"key":"a\nb"}'),
    ("/v3/kv/range", "\N{ZERO WIDTH NO-BREAK SPACE}{}"),
    ("/v3/kv/range", "'a'"),
    ("/v3/kv/range", "[]"),
    ("/v3/kv/range", "null"),
    ("/v3/kv/range", '"text"'),
    ("/v3/kv/range", "12"),
    ("/v3/kv/range", '{"key":1}'),
    ("/v3/kv/range", '{"key":{"a":1}}'),
    ("/v3/kv/range", '{"key":"***"}'),
    ("/v3/kv/range", '{"key":"YQ="}'),
    ("/v3/kv/range", '{"key":"Y\\nQ=="}'),
    ("/v3/kv/range", '{"key":"YQ==YQ=="}'),
    ("/v3/kv/range", '{"key":"+_=="}'),
    ("/v3/kv/range", '\n {"limit":\n  "x"}'),
    ("/v3/kv/range", '{"unknown":[{"a":1}],  "limit":true}'),
    ("/v3/kv/range", '{"limit":1.5}'),
    ("/v3/kv/range", '{"limit":" 1"}'),
    ("/v3/kv/range", '{"limit":""}'),
    ("/v3/kv/range", '{"limit":9223372036854775808}'),
    ("/v3/kv/range", '{"limit":"1e99"}'),
    ("/v3/kv/range", '{"serializable":"true"}'),
    ("/v3/kv/range", '{"serializable":1}'),
    ("/v3/kv/range", '{"sort_order":true}'),
    ("/v3/kv/range", '{"sort_order":1.5}'),
    ("/v3/kv/range", '{"key":"YQ==","sort_order":99}'),
    ("/v3/kv/range", '{"range_end":"YQ==","rangeEnd":"YQ=="}'),
    ("/v3/kv/range", '{"key":"YQ==","key":"YQ=="}'),
    ("/v3/kv/range", '{"key":null,"key":"YQ=="}'),
    ("/v3/kv/range", '{"key":"YQ==","revision":1000000}'),
    ("/v3/kv/put", '{"value":"YQ=="}'),
    ("/v3/kv/put", '{"key":"YQ==","lease":12345}'),
    ("/v3/kv/put", '{"key":"YQ==","value":"YQ==","ignore_value":true}'),
    ("/v3/kv/deleterange", "{}"),
    ("/v3/kv/txn", '{"success":[null]}'),
    ("/v3/kv/txn", '{"success":{}}'),
    ("/v3/kv/txn", '{"success":[{}]}'),
    ("/v3/kv/txn", '{"compare":[{"version":1,"value":"YQ=="}]}'),
    ("/v3/kv/txn", '{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}'),
    ("/v3/kv/txn", '{"success":[{"request_put":{"key":7}}]}'),
    ("/v3/kv/compaction", '{"revision":"1000000"}'),
    ("/v3/lease/grant", '{"ID":"7","TTL":"1000"}'),
    ("/v3/lease/grant", '{"TTL":"9000000001"}'),
    ("/v3/lease/revoke", '{"ID":"99"}'),
    ("/v3/lease/keepalive", '{"ID":"x"}'),
    ("/v3/lease/keepalive", ""),
    ("/v3/cluster/member/add", '{"peerURLs":["nonsense"]}'),
    ("/v3/cluster/member/add", '{"peerURLs":["http://a:1",7]}'),
    ("/v3/cluster/member/remove", '{"ID":"99"}'),
    ("/v3/maintenance/transfer-leadership", '{"targetID":"99"}'),
    ("/v3/auth/enable", "{}"),
    ("/v3/auth/authenticate", '{"name":"a","password":"b"}'),
    ("/v3/auth/user/get", '{"name":"<nobody>"}'),
    ("/v3/auth/role/get", '{"role":"none"}'),
]


@pytest.mark.parametrize(("path", "body"), GOOD + BAD)
def test_a_request_is_answered_as_etcd_answers_it(both: Pair, path: str, body: str) -> None:
    answer = same(both, path, body)
    if (path, body) in GOOD:
        assert answer.status == 200


@pytest.mark.parametrize("depth", [100, 1_000, 9_999, 10_000, 10_001, 100_000])
def test_deep_nesting_is_answered_as_etcd_answers_it(both: Pair, depth: int) -> None:
    opening, closing = "[" * depth, "]" * depth
    inner, outer = '{"a":' * depth, "}" * depth
    txn, end = '{"success":[{"request_txn":' * (depth // 3), "}]}" * (depth // 3)
    for path, body in (
        ("/v3/kv/range", f'{{"key":"YQ==","unknown":{opening}{closing}}}'),
        ("/v3/kv/range", f'{{"key":"YQ==","unknown":{inner}1{outer}}}'),
        ("/v3/kv/range", f'{{"key":"YQ==","unknown":{opening}'),
        ("/v3/kv/range", f'{{"key":"YQ==","unknown":{opening}}}'),
        ("/v3/kv/range", inner),
        ("/v3/kv/txn", f"{txn}{{}}{end}"),
        ("/v3/lease/keepalive", f'{{"ID":"7","unknown":{opening}{closing}}}'),
        ("/v3/lease/keepalive", f'{{"ID":"7","unknown":{opening}'),
    ):
        same(both, path, body)
    # (In a longer text rusd does not look for the place of a mistake.)
    if depth <= 1_000 or depth > 10_000:
        same(both, "/v3/kv/range", f"{opening}{closing}")
        same(both, "/v3/kv/range", f'{{"key":{opening}{closing}}}')


def test_changes_are_answered_as_etcd_answers_them(both: Pair) -> None:
    for path, body in (
        ("/v3/kv/put", '{"key":"Yw==","value":"dmFsdWU=","lease":"7","prev_kv":true}'),
        ("/v3/kv/put", '{"key":"Yw==","ignoreValue":true,"prevKv":true}'),
        ("/v3/lease/timetolive", '{"ID":"7","keys":true}'),
        (
            "/v3/kv/txn",
            '{"success":[{"request_put":{"key":"ZA==","value":""}},'
            '{"request_delete_range":{"key":"Yw==","prev_kv":true}}]}',
        ),
        ("/v3/kv/deleterange", '{"key":"ZA==","prev_kv":true}'),
        ("/v3/lease/grant", '{"ID":"8","TTL":"500"}'),
        ("/v3/lease/leases", "{}"),
        ("/v3/kv/lease/revoke", '{"ID":"8"}'),
        ("/v3/kv/compaction", '{"revision":"3","physical":true}'),
        ("/v3/kv/range", '{"key":"YQ==","revision":"2"}'),
    ):
        same(both, path, body)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v3/kv/range"),
        ("PUT", "/v3/kv/range"),
        ("DELETE", "/v3/kv/range"),
        ("HEAD", "/v3/kv/range"),
        ("OPTIONS", "/v3/kv/range"),
        ("OPTIONS", "/nothing"),
        ("GET", "/v3/nothing"),
        ("POST", "/v3/nothing"),
        ("POST", "/v3/"),
        ("POST", "/v3"),
        ("POST", "/v3?a=b"),
        ("POST", "/v3beta/kv/range"),
        ("POST", "/v3alpha/kv/range"),
        ("POST", "/V3/kv/range"),
        ("POST", "/v3/kv/range/"),
        ("POST", "/v3/kv/range:get"),
        ("POST", "/v3/kv/range%00"),
        ("POST", "/v3/kv/range?key=Yg==&limit=5"),
        ("POST", "/v3/kv%2Frange"),
        ("POST", "/v3%2Fkv%2Frange"),
        ("POST", "/v3/kv/%72ange"),
        ("POST", "/v3//kv/range"),
        ("POST", "//v3/kv/range"),
        ("POST", "/./v3/kv/range"),
        ("POST", "/v3/kv/../kv/range?x=1"),
        ("POST", "/v3/kv/%2e%2e/kv/range"),
        ("POST", "/health/../v3/kv/range"),
        ("POST", "/v3/../../../v3/kv/range"),
        ("POST", "/v3/kv/range/.."),
        ("GET", "//health"),
    ],
)
def test_a_path_leads_where_it_leads_in_etcd(both: Pair, method: str, path: str) -> None:
    if oracle_version() < (3, 6):
        pytest.skip("compares with grpc-gateway 2: make test-differential")
    same(both, path, A, method)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/x-www-form-urlencoded", "X-HTTP-Method-Override": "GET"},
        {"Content-Type": "application/json", "X-HTTP-Method-Override": "GET"},
        {"Accept": "text/html"},
        {"Authorization": "no-token"},
        {"Grpc-Metadata-Hasleader": "true"},
        {"Grpc-Timeout": "10S"},
        {"Grpc-Timeout": "0S"},
        {"Grpc-Timeout": "nonsense"},
        {"Grpc-Timeout": "1"},
        {"Grpc-Metadata-X-Bin": "aGVsbG8="},
        {"Grpc-Metadata-X-Y-Bin": "aGVs*G8="},
        {"Grpc-Metadata-X-Bin": "aGVsb"},
        {"TE": "gzip"},
        {"X-Long": "x" * 30_000},
        {f"X-Field-{number}": "x" for number in range(300)},
    ],
    ids=range(17),
)
def test_headers_mean_what_they_mean_to_etcd(both: Pair, headers: dict[str, str]) -> None:
    same(both, "/v3/kv/range", A, headers=headers)


@pytest.mark.parametrize(
    "request_",
    [
        b"FOO /version HTTP/1.1\r\n%b\r\n",
        b"PROPFIND /health HTTP/1.1\r\n%b\r\n",
        b"get /version HTTP/1.1\r\n%b\r\n",
        b"FOO /v3/kv/range HTTP/1.1\r\n%b\r\n",
        b"FOO /v3/kv/range HTTP/1.0\r\n%b\r\n",
        b"FOO /version HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"G{T /version HTTP/1.1\r\n%b\r\n",
        b"GET /version HTTP/1.2\r\n%b\r\n",
        b"GET /version HTTP/2.0\r\n%b\r\n\r\n",
        b"OPTIONS /v3/kv/range HTTP/1.1\r\n%b\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\n%bTransfer-Encoding: gzip\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\n%bTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\n%bA: " + b"x" * (2 << 20),
        b"FOO /version\r\n%b\r\n",
        b"FOO  /version HTTP/1.1\r\n%b\r\n",
        b"no request\r\n\r\n%b",
    ],
    ids=range(16),
)
def test_bytes_are_a_request_where_they_are_one_to_etcd(both: Pair, request_: bytes) -> None:
    if oracle_version() < (3, 6):
        pytest.skip("compares with grpc-gateway 2: make test-differential")
    fields = b"Host: x\r\nConnection: close\r\n"
    mine, theirs = (_status(one, request_.replace(b"%b", fields, 1)) for one in both.endpoints)
    if b"HTTP/2.0" in request_:
        assert (mine[-3:], theirs) == (b"505", b"")  # refused with a reason here
    else:
        assert mine == theirs


def _status(endpoint: str, request: bytes) -> bytes:
    """Version and status of the response; empty if there is none."""
    host, _, port = endpoint.rpartition(":")
    said = b""
    with socket.create_connection((host, int(port)), 10) as sent:
        with contextlib.suppress(ConnectionError):
            sent.sendall(request)
        with contextlib.suppress(ConnectionError):
            while chunk := sent.recv(1 << 16):
                said += chunk
    return b" ".join(said.split(b" ")[:2])


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ('{"create_request":{"key":"YQ==","start_revision":"2"}}', 2),
        ('{"createRequest":{"key":"YQ==","startRevision":2,"prevKv":true,"watchId":"5"}}', 2),
        ('{"create_request":{"key":"YQ==","watch_id":6}}{"cancel_request":{"watch_id":"6"}}', 2),
        ('{"create_request":{"key":"YQ==","watch_id":-2}}', 1),
        ('{"create_request":{"key":"AA==","range_end":"AA==","filters":["NOPUT",1]}}', 1),
        ('{"create_request":{}}nonsense', 1),
    ],
)
def test_a_watch_sends_the_lines_that_etcd_sends(both: Pair, body: str, lines: int) -> None:
    answers = []
    for endpoint in both.endpoints:
        with Exchange(endpoint, "/v3/watch", body) as watch:
            sent = b"".join(watch.line() for _ in range(lines))
            headers = {name.lower(): value for name, value in watch.response.getheaders()}
            answers.append(Answer(watch.response.status, headers, sent))
    mine, theirs = map(comparable, answers)
    if oracle_version() < (3, 6):
        assert mine[2] == theirs[2]
    else:
        assert mine == theirs


def test_authentication_works_through_the_gateway_as_in_etcd(both: Pair) -> None:
    if oracle_version() < (3, 6):
        pytest.skip("compares with grpc-gateway 2: make test-differential")
    for path, body in (
        ("/v3/auth/user/add", '{"name":"root","password":"r"}'),
        ("/v3/auth/user/add", '{"name":"u","password":"p"}'),
        ("/v3/auth/role/add", '{"name":"root"}'),
        ("/v3/auth/role/add", '{"name":"r"}'),
        (
            "/v3/auth/role/grant",
            '{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}',
        ),
        ("/v3/auth/user/grant", '{"user":"root","role":"root"}'),
        ("/v3/auth/user/grant", '{"user":"u","role":"r"}'),
        ("/v3/auth/role/get", '{"role":"r"}'),
        ("/v3/auth/enable", "{}"),
        ("/v3/kv/range", A),
        ("/v3/auth/authenticate", '{"name":"u","password":"wrong"}'),
    ):
        same(both, path, body)
    tokens = {}
    for endpoint in both.endpoints:
        for user, password in (("u", "p"), ("root", "r")):
            body = f'{{"name":"{user}","password":"{password}"}}'
            answer = ask(endpoint, "/v3/auth/authenticate", body)
            found = re.search(rb'"token":"([^"]+)"', answer.body)
            assert found, answer
            tokens[endpoint, user] = found[1].decode()
    for user, form, path, body in (
        ("u", "{}", "/v3/kv/range", A),
        ("u", "Bearer {}", "/v3/kv/put", '{"key":"YQ==","value":"NA=="}'),
        ("u", "{}", "/v3/kv/range", '{"key":"Yg=="}'),
        ("u", "{}", "/v3/kv/put", '{"key":"Yg==","value":"NA=="}'),
        ("u", "{}", "/v3/kv/range", '{"key":"YQ==","range_end":"AA=="}'),
        ("u", "{}", "/v3/auth/user/list", "{}"),
        ("u", "{}", "/v3/auth/user/get", '{"name":"u"}'),
        ("u", "{}", "/v3/cluster/member/list", "{}"),
        ("u", "{}", "/v3/cluster/member/remove", '{"ID":"1"}'),
        ("u", "{}", "/v3/maintenance/snapshot", "{}"),
        ("u", "{}", "/v3/maintenance/defragment", "{}"),
        ("u", "{}x", "/v3/kv/range", A),
        ("u", "Bearer  {}", "/v3/kv/range", A),
        ("u", "bearer {}", "/v3/kv/range", A),
        ("root", "{}", "/v3/auth/user/list", "{}"),
        ("root", "{}", "/v3/auth/disable", "{}"),
    ):
        mine, theirs = (
            comparable(
                ask(
                    endpoint,
                    path,
                    body,
                    headers={"Authorization": form.format(tokens[endpoint, user])},
                )
            )
            for endpoint in both.endpoints
        )
        assert mine == theirs, (user, form, path, body)


def test_locks_and_elections_are_answered_as_etcd_answers_them(both: Pair) -> None:
    if oracle_version() < (3, 6):
        pytest.skip("compares with grpc-gateway 2: make test-differential")
    key = b64(b"e/7")
    for path, body in (
        ("/v3/lock/lock", '{"name":"bG9jaw==","lease":"7"}'),
        ("/v3/lock/lock", '{"name":"bG9jaw==","lease":"12345"}'),
        ("/v3/lock/lock", '{"name":5}'),
        ("/v3/lock/unlock", f'{{"key":"{b64(b"lock/7")}"}}'),
        ("/v3/election/leader", '{"name":"ZQ=="}'),
        ("/v3/election/campaign", '{"name":"ZQ==","lease":"7","value":"MQ=="}'),
        ("/v3/election/leader", '{"name":"ZQ=="}'),
        ("/v3/election/proclaim", f'{{"leader":{{"name":"ZQ==","key":"{key}"}},"value":"Mg=="}}'),
        ("/v3/election/resign", '{"leader":{"name":"ZQ==","key":"bm9uZQ=="}}'),
        ("/v3/election/observe", "{"),
    ):
        same(both, path, body)
    for endpoint in both.endpoints:
        with Exchange(endpoint, "/v3/election/observe", '{"name":"ZQ=="}') as observed:
            assert b'{"result":{"header":{' in observed.line()


async def over_a_socket(endpoint: str, path: str, messages: list[str], lines: int) -> list[bytes]:
    """The first `lines` messages of the server."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{endpoint}{path}", timeout=TIMEOUT) as socket,
    ):
        for message in messages:
            await socket.send_str(message)
        return [(await socket.receive_str(timeout=20)).encode() for _ in range(lines)]


TIMEOUT = aiohttp.ClientWSTimeout(ws_close=5)


@pytest.mark.parametrize(
    ("path", "messages", "lines"),
    [
        ("/v3/watch", ['{"create_request":{"key":"bm9uZQ=="}}'], 1),
        ("/v3/watch?method=GET", ['{"create_request":{"key":"bm9uZQ=="}}'], 1),
        (
            "/v3/watch",
            [
                '{"create_request":{"key":"bm9uZQ==","watch_id":3}}',
                '{"cancel_request":{"watch_id":3}}',
            ],
            2,
        ),
        ("/v3/lease/keepalive", ['{"ID":"7"}', '{"ID":"99"}'], 2),
        ("/v3/nothing", ["{}"], 1),
        ("/v3/", ["{}"], 1),
    ],
)
def test_a_websocket_carries_the_lines_that_etcd_sends(
    both: Pair, path: str, messages: list[str], lines: int
) -> None:
    if oracle_version() < (3, 6):
        pytest.skip("compares with grpc-gateway 2: make test-differential")
    mine, theirs = (
        [
            comparable(Answer(0, {}, line))
            for line in asyncio.run(over_a_socket(endpoint, path, messages, lines))
        ]
        for endpoint in both.endpoints
    )
    assert mine == theirs
