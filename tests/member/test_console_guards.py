"""A member with TLS whose console only reads, as browsers reach it over both protocols."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.unit.door.http_clients import Http1, Http2, HttpClient

READ = b'{"key":"YQ=="}'
PUT = b'{"key":"YQ==","value":"MQ=="}'
GRPC_PUT = rpc.PutRequest(key=b"a", value=b"1").SerializeToString()
EVIL = {"origin": "https://evil.example"}
CONSOLE = {"rusd-console": "1"}
DAYS = 10


class Site(NamedTuple):
    endpoint: str
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    authority = Authority(tmp_path_factory.mktemp("tls"), valid=timedelta(days=DAYS, hours=1))
    tls, peer_tls = authority.tls(), authority.peer_tls()
    with LocalCluster(2, flags=["--console-read-only"], tls=tls, peer_tls=peer_tls) as two:
        yield Site(two.endpoints[0], ssl.create_default_context(cafile=str(authority.cert)))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    site: Site, kind: type[Http1 | Http2], method: str, path: str, body: bytes = b"", **headers: str
) -> Answer:
    async def asked() -> Answer:
        host, _, port = site.endpoint.rpartition(":")
        site.context.set_alpn_protocols(["h2" if kind is Http2 else "http/1.1"])
        streams = await asyncio.open_connection(host, int(port), ssl=site.context)
        client: HttpClient = kind(streams)
        await client.send(method, path, len(body), **headers)
        if body:
            await client.body(body, end=True)
        await client.response()
        read = b""
        while client.headers.get("content-length") != "0" and (chunk := await client.read()):
            read += chunk
            if len(read) == int(client.headers.get("content-length", -1)):
                break
        client.close()
        return Answer(client.status, client.headers, read)

    return asyncio.run(asyncio.wait_for(asked(), 20))


@pytest.mark.parametrize("kind", [Http1, Http2])
def test_the_console_reads_and_nothing_else(site: Site, kind: type[Http1 | Http2]) -> None:
    assert json.loads(ask(site, kind, "GET", "/console/api/state").body)["read_only"] is True
    assert ask(site, kind, "POST", "/v3/kv/range", READ, **CONSOLE).status == 200
    for path in ("/v3/kv/put", "/v3beta/kv/put", "/v3/kv/%70ut", "/v3/auth/enable"):
        refused = ask(site, kind, "POST", path, PUT, **CONSOLE)
        assert (refused.status, json.loads(refused.body)["code"]) == (403, 7)
    assert ask(site, kind, "POST", "/v3/kv/put", PUT).status == 200, "another client"


@pytest.mark.parametrize("kind", [Http1, Http2])
def test_no_page_of_another_origin_sends_anything_over_tls(
    site: Site, kind: type[Http1 | Http2]
) -> None:
    for path in ("/v3/kv/range", "/v3/kv/put", "/v3/watch", "/v3/lock/lock", "/v3/nothing", "/x"):
        for kinds in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
            refused = ask(site, kind, "POST", path, PUT, **EVIL, **{"content-type": kinds})
            assert (refused.status, json.loads(refused.body)["code"]) == (403, 7)
    for page in ("state", "cluster", "level"):
        assert ask(site, kind, "GET", f"/console/api/{page}", **EVIL).status == 403


def test_no_page_of_another_origin_calls_a_method_by_grpc(site: Site) -> None:
    """The preflight allows `content-type`, as etcd's does."""
    message = b"\0" + len(GRPC_PUT).to_bytes(4, "big") + GRPC_PUT
    headers = {"content-type": "application/grpc", "te": "trailers"}
    for fields in (EVIL, {"sec-fetch-site": "cross-site"}):
        answer = ask(site, Http2, "POST", "/etcdserverpb.KV/Put", message, **headers, **fields)
        assert answer.headers["grpc-status"] == "7"


def test_the_ends_of_the_certificates_of_all_members_are_shown(site: Site) -> None:
    deadline = time.monotonic() + 20
    members: list[dict[str, Any]] = []
    while not (members and all(member["certificates"] for member in members)):
        assert time.monotonic() < deadline
        members = json.loads(ask(site, Http1, "GET", "/console/api/cluster").body)["members"]
    assert len(members) == 2
    for member in members:
        shown = {one["what"]: one for one in member["certificates"]}
        named = ("cert-file", "trusted-ca-file")
        assert {f"--{kind}{name}" for kind in ("", "peer-") for name in named} >= shown.keys()
        assert {"--cert-file", "--peer-cert-file", "--peer-trusted-ca-file"} <= shown.keys()
        assert shown["--peer-trusted-ca-file"]["days"] == DAYS
        for one in shown.values():
            left = one["not_after"] - time.time()
            assert one["days"] == left // 86_400 or left % 86_400 > 86_000
