"""Pages over sockets, HTTP/1.1 and HTTP/2 alike: requests with bodies, streamed responses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cluster.certificates import Authority
from rusd.door.grpc.server import GrpcDoor
from rusd.door.http import body, http2
from rusd.door.http.body import BodyMemory
from rusd.door.http.router import Router, not_allowed
from rusd.door.http.server import HttpDoor
from rusd.door.tls.context import ClientTls, TlsOptions
from rusd.rpc.call import Certificate
from rusd.rpc.pages import Page, PageRequest, PageResponse
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.http_clients import Http1, Http2, HttpClient
from tests.unit.door.toys import served

LIMIT = 100_000

Connect = Callable[[], Awaitable[HttpClient]]
Scenario = Callable[[Connect], Awaitable[None]]
Serve = Callable[..., None]


@pytest.fixture(params=[Http1, Http2])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Runs a scenario against a client port with these pages."""

    def serve(
        scenario: Scenario,
        memory: BodyMemory | None = None,
        tls: ClientTls | None = None,
        context: ssl.SSLContext | None = None,
        **pages: Page,
    ) -> None:
        async def main() -> None:
            router = Router({f"/{name}": page for name, page in pages.items()})
            http = HttpDoor(router, unexpected, memory or BodyMemory(each=LIMIT))
            await http.prepare()
            door = GrpcDoor(
                {},
                fail=unexpected,
                max_request_bytes=LIMIT,
                max_concurrent_streams=100,
                keepalive_min_time=5,
                pages=router.serve,
                http=http.protocol,
                body_memory=http.body_memory,
            )
            port = free_port()
            await door.start([f"http{'s' if tls else ''}://127.0.0.1:{port}"], tls)
            clients: list[HttpClient] = []

            async def connect() -> HttpClient:
                if context is not None:
                    alpn = "http/1.1" if request.param is Http1 else "h2"
                    context.set_alpn_protocols([alpn])
                streams = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                clients.append(request.param(streams))
                return clients[-1]

            try:
                await asyncio.wait_for(scenario(connect), 30)
            finally:
                for client in clients:
                    client.close()
                await door.stop(0)
                await http.stop()

        asyncio.run(main())

    return serve


async def read_all(client: HttpClient) -> bytes:
    whole = b""
    while chunk := await client.read():
        whole += chunk
    return whole


async def shown(request: PageRequest) -> PageResponse:
    """Answer with the fields of the request that a page sees."""
    text = await request.body.read()
    seen = [
        request.method,
        request.path,
        str(dict(request.query)),
        request.headers.get("authorization", ""),
        request.headers["host"],
        request.caller.address.split(":")[0],
        str(len(text)),
        str(sum(text)),
    ]
    return PageResponse(200, [("Content-Type", "text/plain")], "\n".join(seen).encode())


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [5, LIMIT])
def test_a_page_sees_method_path_query_headers_body_and_caller(
    serve: Serve, announced: bool, size: int
) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        length = size if announced else None
        await client.send("POST", "/sho%77n?a=1&a=2&b=", length, authorization="secret")
        await client.body(b"x" * (size // 2))
        await client.body(b"y" * (size - size // 2), end=True)
        await client.response()
        assert (client.status, client.headers["content-type"]) == (200, "text/plain")
        total = ord("x") * (size // 2) + ord("y") * (size - size // 2)
        query = "{'a': ['1', '2'], 'b': ['']}"
        wanted = ["POST", "/shown", query, "secret", "x", "127.0.0.1", str(size), str(total)]
        assert (await read_all(client)).decode().split("\n") == wanted

    serve(scenario, shown=shown)


def test_the_host_of_the_target_counts_before_that_of_the_header(serve: Serve) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("POST", "http://other:1/shown", 0)
        await client.response()
        seen = (await read_all(client)).decode().split("\n")
        assert seen[:2] == ["POST", "/shown"]
        assert seen[4] == "other:1"

    serve(scenario, shown=shown)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused_with_413(serve: Serve, announced: bool) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("POST", "/shown", LIMIT + 1 if announced else None)
        if not announced:
            # In two pieces: all but the last byte is within the limit.
            await client.body(b"x" * LIMIT)
            await client.body(b"x")
        await client.response()
        assert client.status == 413

    serve(scenario, shown=shown)


def test_a_body_that_does_not_arrive_in_time_is_refused_with_408(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.1)

    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("POST", "/shown", 10)
        await client.body(b"x")
        await client.response()
        assert client.status == 408

    serve(scenario, shown=shown)


def test_bodies_that_hold_too_much_memory_together_are_refused_with_503(serve: Serve) -> None:
    async def scenario(connect: Connect) -> None:
        slow, late, next_one = await connect(), await connect(), await connect()
        await slow.send("POST", "/shown", 600)
        await slow.body(b"x" * 599)
        while not memory.held:
            await asyncio.sleep(0)
        await late.send("POST", "/shown", 600)
        await late.body(b"x" * 600, end=True)
        await late.response()
        assert late.status == 503
        await slow.body(b"x", end=True)
        await slow.response()
        assert slow.status == 200
        while memory.held:
            await asyncio.sleep(0)
        await next_one.send("POST", "/shown", 600)
        await next_one.body(b"x" * 600, end=True)
        await next_one.response()
        assert next_one.status == 200

    memory = BodyMemory(1000, LIMIT)
    serve(scenario, memory, shown=shown)


def test_head_gets_the_head_alone(serve: Serve) -> None:
    async def streamed(request: PageRequest) -> PageResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"never"

        return PageResponse(200, [], chunks())

    async def scenario(connect: Connect) -> None:
        client = await connect()
        for path in ("/shown", "/streamed"):
            await client.send("HEAD", path, 0)
            await client.response()
            assert client.status == 200
            if path == "/shown":
                assert int(client.headers["content-length"]) > 10
        await client.send("GET", "/nowhere", 0)
        await client.response()
        assert client.status == 404  # no byte of a body was in between

    serve(scenario, shown=shown, streamed=streamed)


def test_unknown_paths_and_wrong_methods_are_refused(serve: Serve) -> None:
    async def only_get(request: PageRequest) -> PageResponse:
        return PageResponse(200) if request.method == "GET" else not_allowed("GET")

    async def scenario(connect: Connect) -> None:
        client = await connect()
        for method, path, status, text in (
            ("GET", "/only_get", 200, b""),
            ("GET", "/only_get/", 404, b"404 page not found\n"),
            ("GET", "/nowhere", 404, b"404 page not found\n"),
            ("DELETE", "/only_get", 405, b"Method Not Allowed\n"),
        ):
            await client.send(method, path, 0)
            await client.response()
            assert (client.status, await read_all(client)) == (status, text)
            assert status != 405 or client.headers["allow"] == "GET"

    serve(scenario, only_get=only_get)


class Endless:
    """A page that streams for ever, and records how its call ends."""

    def __init__(self, chunk: bytes = b"x" * 65536) -> None:
        self.chunk = chunk
        self.made = 0
        self.closed = asyncio.Event()

    async def __call__(self, request: PageRequest) -> PageResponse:
        return PageResponse(200, [], self.chunks())

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.made += len(self.chunk)
                yield self.chunk
        finally:
            self.closed.set()


def test_a_streamed_response_waits_for_a_slow_reader_and_ends_with_it(serve: Serve) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("GET", "/endless", 0)
        await client.response()
        # Once nothing is made for a while, no more fits into the buffers of both sides.
        still = made = 0
        while still < 50:
            await asyncio.sleep(0.01)
            still = still + 1 if endless.made == made else 0
            made = endless.made
        assert 0 < made <= 16 << 20
        taken = 0
        while endless.made == made:
            taken += len(await client.read())
        while taken < made:
            taken += len(await client.read())
        assert not endless.closed.is_set()
        client.close()
        await endless.closed.wait()

    endless = Endless()
    serve(scenario, endless=endless)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_page_that_waits_is_cancelled_when_its_client_goes(serve: Serve, streaming: bool) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def page(request: PageRequest) -> PageResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await wait()

        if streaming:
            return PageResponse(200, [], chunks())
        await wait()
        return PageResponse(200)

    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("GET", "/page", 0)
        if streaming:
            await client.response()
            assert await client.read() == b"first"
        await waiting.wait()
        client.close()
        await cancelled.wait()

    serve(scenario, page=page)


def test_requests_and_responses_are_streamed_both_ways_at_once(serve: Serve) -> None:
    async def echo(request: PageRequest) -> PageResponse:
        return PageResponse(200, [], request.body.chunks())

    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("POST", "/echo", None)
        for number in range(20):
            # More than a window, a limit and a buffer in all.
            message = bytes([number]) * 50_000
            await client.body(message)
            if not number:
                await client.response()
            got = b""
            while len(got) < len(message):
                got += await client.read()
            assert got == message
        await client.body(b"", end=True)
        assert await client.read() == b""

    serve(scenario, echo=echo)


async def sees_it_incomplete(connect: Connect) -> None:
    client = await connect()
    await client.send("GET", "/page", 0)
    await client.response()
    with pytest.raises(ConnectionError):
        await read_all(client)


def test_a_response_that_fails_midway_is_seen_to_be_incomplete(serve: Serve) -> None:
    async def page(request: PageRequest) -> PageResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            raise ZeroDivisionError("a bug")

        return PageResponse(200, [], chunks())

    serve(sees_it_incomplete, page=page)


def test_a_response_that_is_cut_off_while_its_client_does_not_read_is_incomplete(
    serve: Serve,
) -> None:
    async def page(request: PageRequest) -> PageResponse:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.05, task.cancel)

        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1 << 20)

        return PageResponse(200, [], chunks())

    serve(sees_it_incomplete, page=page)


def test_a_request_whose_body_is_not_read_is_answered(serve: Serve) -> None:
    async def page(request: PageRequest) -> PageResponse:
        return PageResponse(200, [], b"fine")

    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("POST", "/page", 1000)
        await client.body(b"x" * 1000, end=True)
        await client.response()
        assert (client.status, await read_all(client)) == (200, b"fine")

    serve(scenario, page=page)


def test_streams_do_not_keep_other_pages_of_a_connection_waiting() -> None:
    """More streams than pages run at a time, on one HTTP/2 connection."""
    opened = 0

    async def scenario() -> None:
        never = asyncio.Event()

        async def streaming(request: PageRequest) -> PageResponse:
            async def chunks() -> AsyncIterator[bytes]:
                yield b"first"
                await never.wait()

            return PageResponse(200, [], chunks())

        router = Router({"/streaming": streaming})
        door = GrpcDoor(
            {},
            fail=unexpected,
            max_request_bytes=LIMIT,
            max_concurrent_streams=100,
            keepalive_min_time=5,
            pages=router.serve,
        )
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        client = Http2(await asyncio.open_connection("127.0.0.1", port))
        nonlocal opened
        for _ in range(3 * http2.AT_ONCE):
            await client.send("GET", "/streaming", 0)
            await client.response()
            assert await client.read() == b"first"
            opened += 1
        client.close()
        await door.stop(0)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert opened == 3 * http2.AT_ONCE


@pytest.mark.parametrize("verified", [True, False])
def test_a_page_sees_the_names_of_a_verified_certificate(
    serve: Serve, tmp_path: Path, verified: bool
) -> None:
    seen: list[Certificate | None] = []

    async def page(request: PageRequest) -> PageResponse:
        seen.append(request.caller.certificate)
        return PageResponse(200)

    async def scenario(connect: Connect) -> None:
        client = await connect()
        await client.send("GET", "/page", 0)
        await client.response()
        assert client.status == 200

    authority = Authority(tmp_path / "tls")
    server, person = (
        authority.issue("server", ["127.0.0.1"]),
        authority.issue("alice", ["a.example"]),
    )
    tls = ClientTls(
        TlsOptions(
            cert_file=server.cert,
            key_file=server.key,
            trusted_ca_file=authority.cert if verified else None,
        )
    )
    context = ssl.create_default_context(cafile=authority.cert)
    context.load_cert_chain(person.cert, person.key)
    serve(scenario, tls=tls, context=context, page=page)
    assert seen == [Certificate("alice", ("a.example",)) if verified else None]


def test_a_page_over_http2_that_fails_before_its_response_resets_the_stream() -> None:
    """A fault of the router itself; the router answers those of pages."""

    async def fails(request: PageRequest) -> PageResponse:
        raise ZeroDivisionError

    async def main() -> None:
        async with served(pages=fails) as server:
            client = Http2(await asyncio.open_connection("127.0.0.1", server.port))
            await client.send("GET", "/version", 0)
            with pytest.raises(ConnectionError):
                await client.response()
            client.close()

    asyncio.run(asyncio.wait_for(main(), 10))


async def unread(request: PageRequest) -> PageResponse:
    """Answer without a look at the body."""
    return PageResponse(200, [], b"fine")


def test_a_malformed_end_of_a_request_is_told_though_no_page_reads_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 9113, 8.1.1: a content-length that the data contradict is an error of the stream."""
    monkeypatch.setattr(http2, "END_SECONDS", 10.0)

    async def main() -> None:
        async with served(pages=unread) as server:
            client = Http2(await asyncio.open_connection("127.0.0.1", server.port))
            await client.send("POST", "/version", 5)
            await client.body(b"x", end=True)
            with pytest.raises(ConnectionError):
                await client.response()
            client.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_request_over_http2_that_does_not_end_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http2, "END_SECONDS", 0.01)

    async def main() -> None:
        async with served(pages=unread) as server:
            client = Http2(await asyncio.open_connection("127.0.0.1", server.port))
            await client.send("POST", "/version", 5)
            await client.response()
            assert client.status == 200
            client.close()

    asyncio.run(asyncio.wait_for(main(), 10))
