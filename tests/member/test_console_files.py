"""The files of the console on the ports of running members, over both protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster
from rusd.console.files import SITE
from tests.support.http import ask, raw
from tests.unit.door.http_clients import Http1, Http2, HttpClient

FILES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.*") if path.is_file())


@pytest.fixture(scope="module")
def member() -> Iterator[str]:
    with LocalCluster(1) as one:
        yield one.endpoints[0]


async def connected(kind: type[HttpClient], endpoint: str) -> HttpClient:
    host, _, port = endpoint.rpartition(":")
    streams = await asyncio.open_connection(host, int(port))
    return Http1(streams) if kind is Http1 else Http2(streams)


async def got(client: HttpClient, method: str, path: str, **headers: str) -> bytes:
    await client.send(method, path, 0, **headers)
    await client.response()
    body = b""
    while client.status != 304 and method != "HEAD" and (chunk := await client.read()):
        body += chunk
    client.close()
    return body


@pytest.mark.parametrize("kind", [Http1, Http2])
def test_every_file_is_served_once_over_both_protocols(kind: type[HttpClient], member: str) -> None:
    async def all_files() -> None:
        for name in FILES:
            client = await connected(kind, member)
            assert await got(client, "GET", f"/console/{name}") == (SITE / name).read_bytes()
            assert client.status == 200
            length, tag = client.headers["content-length"], client.headers["etag"]
            client = await connected(kind, member)
            assert await got(client, "HEAD", f"/console/{name}") == b""
            assert (client.status, client.headers["content-length"]) == (200, length)
            client = await connected(kind, member)
            assert await got(client, "GET", f"/console/{name}", **{"if-none-match": tag}) == b""
            assert (client.status, "content-length" in client.headers) == (304, False)

    asyncio.run(all_files())


def test_a_connection_goes_on_after_a_file_that_was_not_sent_again(member: str) -> None:
    answers = raw(
        member,
        b"GET /console HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET /console/nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    assert answers.count(b"HTTP/1.1 ") == 2
    assert b"307 " in answers and b"404 " in answers


@pytest.mark.parametrize(
    "path", ["/console/../v3/kv/put", "/console/%2e%2e/%2e%2e/etc/passwd", "/console/a/../../x"]
)
def test_a_path_that_leaves_the_folder_is_redirected_or_not_found(member: str, path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert raw(member, sent.encode()).startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 307 "))


def test_without_the_console_or_without_the_gateway_there_are_no_files() -> None:
    for flag in ("--enable-console=false", "--enable-grpc-gateway=false"):
        with LocalCluster(1, flags=[flag]) as one:
            for path in ("/console", "/console/", "/console/api/state"):
                assert ask(one.endpoints[0], path, method="GET").status == 404
