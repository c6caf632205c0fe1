"""HTTP/1.1 requests that arrive whole: answered as by aiohttp, without it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from rusd.door.http import body, handler, server, whole
from rusd.door.http.body import BodyMemory
from rusd.door.http.connection import PARSED, SECTION, TRAILERS, HttpConnection
from rusd.door.http.router import PARAMETERS, Router, parsed_target
from rusd.door.http.server import HttpDoor
from rusd.door.http.whole import BODY, Head, plain_head
from rusd.rpc.pages import Later, PageRequest, PageResponse, Respond, nothing_to_cancel
from tests.support.ports import free_port
from tests.support.tasks import unexpected

LIMIT = 64 << 10
HOST = b"Host: x\r\n"


class Site:
    """Pages of every kind, with and without a task."""

    def __init__(self) -> None:
        self.waiting: list[Respond] = []
        self.later: list[Later | None] = []
        self.cancelled = 0
        self.closed = 0
        self.direct = 0
        self.memory = BodyMemory(each=LIMIT)
        self.door = HttpDoor(
            Router(
                {"/shown": self.shown, "/direct": self.shown_direct, "/lines": self.lines,
                 "/waits": self.never, "/lines-direct": self.lines_direct},
                direct={"/direct": self.begin, "/waits": self.wait,
                        "/lines-direct": self.begin_lines},
            ),
            unexpected,
            self.memory,
        )  # fmt: skip

    async def shown(self, request: PageRequest) -> PageResponse:
        fields = sorted(request.headers.items())
        text = repr((request.method, request.path, request.raw_path, request.query, fields))
        return PageResponse(
            200, [("Content-Type", "text/x")], text.encode() + await request.body.read()
        )

    async def shown_direct(self, request: PageRequest) -> PageResponse:
        return await self.shown(request)

    def begin(self, request: PageRequest, text: bytes, respond: Respond) -> Callable[[], None]:
        self.direct += 1
        fields = sorted(request.headers.items())
        shown = repr((request.method, request.path, request.raw_path, request.query, fields))
        respond(PageResponse(200, [("Content-Type", "text/x")], shown.encode() + text))
        return nothing_to_cancel

    async def never(self, request: PageRequest) -> PageResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    def wait(self, request: PageRequest, text: bytes, respond: Respond) -> Callable[[], None]:
        self.waiting.append(respond)
        self.later.append(request.later)

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    async def lines(self, request: PageRequest) -> PageResponse:
        return PageResponse(200, (), self._chunks())

    async def lines_direct(self, request: PageRequest) -> PageResponse:
        return await self.lines(request)

    def begin_lines(
        self, request: PageRequest, text: bytes, respond: Respond
    ) -> Callable[[], None]:
        respond(PageResponse(200, (), self._chunks()))
        return nothing_to_cancel

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            for text in (b"one", b"", b"two"):
                await asyncio.sleep(0)
                yield text
        finally:
            self.closed += 1


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Client]]


def with_site(test: Callable[[Site, Connect], Awaitable[None]]) -> None:
    async def run() -> None:
        site = Site()
        port = free_port()
        await site.door.start([f"http://127.0.0.1:{port}"])
        try:
            async with asyncio.timeout(20):
                await test(site, lambda: asyncio.open_connection("127.0.0.1", port))
        finally:
            await site.door.stop()
        assert site.memory.held == 0

    asyncio.run(run())


async def said(client: Client) -> bytes:
    """One response, without the time of day."""
    reader = client[0]
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head:
        rest = await reader.readuntil(b"0\r\n\r\n")
    else:
        found = re.search(rb"Content-Length: (\d+)", head)
        rest = await reader.readexactly(int(found[1]) if found else 0)
    return re.sub(rb"Date: [^\r]+", b"Date: now", head) + rest


def post(path: bytes, text: bytes, fields: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(text)
    return b"POST %b HTTP/1.1\r\n%b%b%b\r\n%b" % (path, HOST, fields, length, text)


REQUESTS = [
    b"GET /shown HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /shown?a=1&b=%20&a= HTTP/1.1\r\nHost:x\r\nAccept: */*\r\nX-Y:  spaced  \r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /x/../shown HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sh%6fwn HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /lines HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET /lines-direct HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /lines HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"DELETE /shown HTTP/1.1\r\nHost: x\r\n\r\n",
    post(b"/direct", b"body", b"Connection: Close\r\n"),
    post(b"/direct", b"body", b"Content-Type: application/json\r\n"),
    post(b"/direct?q=%41", b"", b"Authorization: t\r\nEmpty:\r\n"),
    post(b"/shown", b"x" * 5000),
    post(b"/shown", b"x" * LIMIT),
    b"POST /direct HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_a_request_that_arrives_whole_is_answered_as_by_aiohttp(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    async def test(site: Site, connect: Connect) -> None:
        direct, other = await connect(), await connect()
        direct[1].write(request_)
        answers = [await said(direct)]
        monkeypatch.setattr(whole, "plain_head", lambda raw: None)
        other[1].write(request_)
        answers.append(await said(other))
        assert answers[0] == answers[1]
        if b"lose\r\n" in request_:
            assert [await one[0].read() for one in (direct, other)] == [b"", b""]
        else:
            assert [_by_aiohttp(one) for one in site.door.connections] == [False, True]
        direct[1].close()
        other[1].close()

    with_site(test)


def _by_aiohttp(connection: HttpConnection) -> bool:
    return connection._whole is None


def test_a_request_may_be_cut_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    request = post(b"/direct", b"body")

    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(request)
        expected = await said(client)
        connection = next(iter(site.door.connections))
        for cut in range(1, len(request)):
            connection.data_received(request[:cut])
            connection.data_received(request[cut:])
            assert await said(client) == expected
        assert site.direct == len(request)
        client[1].close()

    with_site(test)


@pytest.mark.parametrize(
    "request_",
    [
        b"HEAD /direct HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /direct HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET http://x/direct HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /direct HTTP/1.1\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: x\r\nA: \xc3\xa9\r\n\r\n",
        b"GET /direct HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost : x\r\n\r\n",
        b"CONNECT /direct HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (b"x" * whole.HEAD),
        b"GET /direct HTTP/2.0\r\nHost: x\r\n\r\n",
        b"POST /direct HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /direct HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST /direct HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        b"POST /direct HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (BODY + 1),
        b"POST /direct HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"GET /direct HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
    ],
    ids=range(19),
)
def test_heads_that_mean_more_are_left_to_aiohttp(request_: bytes) -> None:
    assert plain_head(request_) is None


NAMES = st.text(st.sampled_from("abXY-09_.: "), max_size=8)
VALUES = st.text(st.sampled_from('ab \t,;:="\\\x00\x7f\xe9\r\n'), max_size=8)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.sampled_from(["/", "/a?b", "/#", "/ a"]))
@example([("A", " b ")], "/")
def test_a_head_that_is_read_here_is_read_as_by_aiohttp(
    fields: list[tuple[str, str]], target: str
) -> None:
    lines = "".join(f"{name}:{value}\r\n" for name, value in fields)
    raw = f"GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode("latin-1")
    head = plain_head(raw)
    if head is None:
        return
    ((message, _),) = _parsed(raw)
    assert head.fields == {name.lower(): value for name, value in message.headers.items()}
    assert (head.method, head.target[1]) == (message.method, message.path.partition("?")[0])


def _parsed(raw: bytes) -> Any:
    async def run() -> Any:
        loop = asyncio.get_running_loop()
        protocol: Any = type("Quiet", (), {"_reading_paused": False})()
        return HttpRequestParser(protocol, loop, 1 << 16).feed_data(raw)[0]

    return asyncio.run(run())


def test_a_method_that_nobody_knows_is_a_request_like_others() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(b"FOO /shown HTTP/1.2\r\nHost: x\r\n\r\n")
        assert b"('FOO', '/shown'" in await said(client)
        client[1].close()

    with_site(test)


def test_requests_sent_behind_one_that_is_served_are_answered_in_order() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(b"/waits", b""))
        while not site.waiting:
            await asyncio.sleep(0)
        client[1].write(post(b"/direct", b"1") + post(b"/direct", b"2"))
        await asyncio.sleep(0.01)
        assert site.direct == 0
        site.waiting[0](PageResponse(200, (), b"first"))
        answers = [await said(client) for _ in range(3)]
        assert [answer[-1:] for answer in answers] == [b"t", b"1", b"2"]
        client[1].close()

    with_site(test)


def test_what_is_sent_behind_a_request_is_not_read_without_bounds() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(b"/waits", b""))
        while not site.waiting:
            await asyncio.sleep(0)
        connection = next(iter(site.door.connections))
        connection.data_received(b"x" * (whole.BEHIND + 1))
        assert not connection.transport.is_reading()  # type: ignore[union-attr]
        site.waiting[0](PageResponse(200, (), b"first"))
        assert (await said(client)).endswith(b"first")
        assert (await client[0].read()).startswith(b"HTTP/1.1 400")
        client[1].close()

    with_site(test)


@pytest.mark.parametrize("path", [b"/waits", b"/lines-direct", b"/lines"])
def test_a_client_that_goes_away_ends_its_request(path: bytes) -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(path, b""))
        while not site.waiting and not site.door.connections:
            await asyncio.sleep(0)
        if path == b"/waits":
            while not site.waiting:
                await asyncio.sleep(0)
        client[1].transport.abort()
        while site.door.connections:
            await asyncio.sleep(0)
        if path == b"/waits":
            assert site.cancelled == 1
            site.waiting[0](PageResponse(200, (), b"too late"))
        await asyncio.sleep(0.01)
        assert not [task for task in asyncio.all_tasks() if "_stream" in repr(task)]

    with_site(test)


@pytest.mark.parametrize("missing", [1, 4])
def test_a_body_that_arrives_slowly_is_left_to_aiohttp_and_its_time(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.01)
    monkeypatch.setattr(body, "BODY_SECONDS", 0.05)

    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(b"/shown", b"body")[:-missing])
        assert (await said(client)).startswith(b"HTTP/1.1 408")
        client[1].close()

    with_site(test)


def test_a_request_that_takes_long_is_not_an_idle_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handler, "IDLE_SECONDS", 0.02)

    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(b"/waits", b""))
        await asyncio.sleep(0.1)
        site.waiting[0](PageResponse(200, (), b"first"))
        assert (await said(client)).endswith(b"first")
        assert await client[0].read() == b""
        client[1].close()

    with_site(test)


def test_a_door_that_stops_sends_the_response_that_is_under_way() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(post(b"/waits", b""))
        while not site.waiting:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(site.door.stop())
        await asyncio.sleep(0.01)
        site.waiting[0](PageResponse(200, (), b"first"))
        assert (await said(client)).endswith(b"first")
        assert await client[0].read() == b""
        await stopping
        client[1].close()

    with_site(test)


def test_the_same_head_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def counted(raw: bytes) -> Head | None:
        read.append(raw)
        return plain_head(raw)

    monkeypatch.setattr(whole, "plain_head", counted)

    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        for text in (b"a", b"b", b"c"):
            client[1].write(post(b"/direct", text))
            assert (await said(client)).endswith(text)
        client[1].write(post(b"/direct", b"longer"))
        assert (await said(client)).endswith(b"longer")
        assert len(read) == 2
        client[1].close()

    with_site(test)


async def begun(site: Site, client: Client, fields: bytes = b"") -> HttpConnection:
    """Begin a request that waits; returns its connection."""
    client[1].write(post(b"/waits", b"", fields))
    while not site.waiting:
        await asyncio.sleep(0)
    return next(iter(site.door.connections))


@pytest.mark.parametrize("stops", [False, True])
def test_no_request_is_served_behind_the_last_response_of_a_connection(stops: bool) -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        connection = await begun(site, client, b"" if stops else b"Connection: close\r\n")
        connection.data_received(post(b"/direct", b""))
        stopping = asyncio.ensure_future(site.door.stop()) if stops else None
        while stops and not connection._close:
            await asyncio.sleep(0)
        # (The client reads it in many pieces: the connection closes long after.)
        site.waiting[0](PageResponse(200, (), b"x" * (16 << 20)))
        assert (await said(client)).endswith(b"x")
        assert await client[0].read() == b""
        assert site.direct == 0
        if stopping is not None:
            await stopping
        client[1].close()

    with_site(test)


def test_what_has_arrived_of_a_body_is_counted_not_what_was_announced() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        sent = post(b"/direct", b"x" * 50_000)
        for piece in (sent[:-40_000], sent[-40_000:-39_000]):
            client[1].write(piece)
            await asyncio.sleep(0.01)
        (connection,) = site.door.connections
        requests = connection._whole
        assert requests is not None
        while len(requests._arrived) != len(sent) - 39_000:
            await asyncio.sleep(0)
        assert site.memory.held == 11_000
        client[1].write(sent[-39_000:])
        await said(client)
        assert site.memory.held == 0
        client[1].close()

    with_site(test)


def test_a_connection_that_is_left_to_aiohttp_while_it_is_not_read_is_read_again() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        connection = await begun(site, client)
        site.waiting[0](PageResponse(200))
        await said(client)
        sent = post(b"/shown", b"x" * 60_000)
        connection.data_received(sent[:1000])
        requests = connection._whole
        assert requests is not None
        requests.waiting = True  # other connections go first
        connection.data_received(sent[1000:18_000])
        assert not connection.transport.is_reading()  # type: ignore[union-attr]
        connection.sweep()
        connection.sweep()
        assert connection.transport.is_reading()  # type: ignore[union-attr]
        client[1].write(sent[18_000:])
        assert (await said(client)).endswith(b"x")
        client[1].close()

    with_site(test)


def by_aiohttp(path: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (path, HOST)


def test_a_section_without_bounds_is_refused_behind_the_responses_before_it() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        connection = await begun(site, client)
        site.waiting[0](PageResponse(200))
        await said(client)
        endless = b"GET / HTTP/1.1\r\n" + (b"A: %b\r\n" % (b"x" * 1000)) * (SECTION // 1000)
        connection.data_received(2 * by_aiohttp(b"/shown") + endless)
        for _ in range(2):
            assert (await said(client)).startswith(b"HTTP/1.1 200")
        assert (await client[0].read()).startswith(b"HTTP/1.1 431")
        client[1].close()

    with_site(test)


@pytest.mark.parametrize(
    "endless", [b"0\r\n" + b"A: %b\r\n" % (b"x" * 1000) * 600, b"1;" + b"x" * (4 * TRAILERS)]
)
def test_trailers_and_extensions_of_chunks_have_bounds(endless: bytes) -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        client[1].write(by_aiohttp(b"/shown")[:-5] + b"3\r\nabc\r\n" + endless)
        assert (await said(client)).startswith(b"HTTP/1.1 400")
        with contextlib.suppress(ConnectionError):
            assert await client[0].read() == b""
        client[1].close()

    with_site(test)


def test_few_pipelined_requests_are_parsed_before_the_first_response() -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        connection = await begun(site, client)
        site.waiting[0](PageResponse(200))
        await said(client)
        connection.data_received(by_aiohttp(b"/shown") * 50)
        assert len(connection._messages) == PARSED
        for _ in range(50):
            assert (await said(client)).startswith(b"HTTP/1.1 200")
        client[1].close()

    with_site(test)


def test_a_query_of_many_parameters_is_not_read() -> None:
    assert len(parsed_target("/?" + "&".join(f"{n}=" for n in range(PARAMETERS)))[2]) == PARAMETERS
    assert parsed_target("/?" + "a&" * PARAMETERS)[2] == {}


@pytest.mark.parametrize("gone", [False, True])
def test_work_on_a_response_is_done_in_the_time_of_its_connection(gone: bool) -> None:
    async def test(site: Site, connect: Connect) -> None:
        client = await connect()
        connection = await begun(site, client)
        later = site.later[0]
        assert later is not None
        requests = connection._whole
        assert requests is not None
        site.door._budget._used = 1.0  # of this turn nothing is left
        later(lambda: site.waiting[0](PageResponse(200, (), b"done")))
        assert requests.waiting
        if gone:
            connection.transport.abort()  # type: ignore[union-attr]
            connection.connection_lost(None)
            assert await client[0].read() == b""
        else:
            assert (await said(client)).endswith(b"done")
        client[1].close()

    with_site(test)
