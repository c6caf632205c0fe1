"""Calls of the gateway without a socket: slots, queues, timeouts, cancellation."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rusd.base.pending import Pending
from rusd.door.gateway.gateway import Gateway
from rusd.door.gateway.json_pieces import PIECE
from rusd.door.gateway.memory import MOVED_PART, SLOW_SECONDS, Answer, AnswerMemory
from rusd.door.gateway.metadata import metadata, timeout
from rusd.door.gateway.streaming import HIGH_BYTES
from rusd.door.gateway.unary import SHORT
from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.router import page_request
from rusd.door.time_budget import BACKLOG, TimeBudget
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import NO_LEADER
from rusd.rpc.methods import BidiStream, Method, Unary
from rusd.rpc.pages import PageRequest, PageResponse, Respond
from rusd.rpc.streams import ResponseStream
from tests.unit.door.toys import Recorder

LIMIT = 1 << 20


class Sent(Body):
    """A body of these chunks; open for ever if `ends` is False."""

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        super().__init__(None, BodyMemory())
        self._chunks = chunks
        self._ends = ends
        self.asked = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.asked += 1
            yield chunk
        if not self._ends:
            await asyncio.get_running_loop().create_future()


class Service:
    """Put, Range and Watch of a service that a test drives."""

    def __init__(self, at_once: int = 1000, budget: TimeBudget | None = None) -> None:
        self.puts: list[asyncio.Future[bytes]] = []
        self.watches: list[Recorder] = []
        methods: dict[str, Method] = {
            "/etcdserverpb.KV/Put": Unary(rpc.PutRequest, self._put),
            "/etcdserverpb.KV/Range": Unary(rpc.RangeRequest, self._range),
            "/etcdserverpb.Watch/Watch": BidiStream(rpc.WatchRequest, self._watch),
        }
        self.methods = methods
        self.gateway = Gateway(methods, LIMIT, lambda: False, at_once, budget)

    def _put(self, request: rpc.PutRequest, call: Call) -> asyncio.Future[bytes]:
        self.puts.append(asyncio.get_running_loop().create_future())
        return self.puts[-1]

    def _range(self, request: rpc.RangeRequest, call: Call) -> bytes:
        if request.key == b"fail":
            raise NO_LEADER()
        if request.key == b"break":
            raise ZeroDivisionError
        return rpc.RangeResponse(count=request.limit).SerializeToString()

    def _watch(self, call: Call, responses: ResponseStream) -> Recorder:
        handler = Recorder(call, responses)
        handler.on_received = lambda request: handler.told.__setitem__(-1, request)
        handler.received = handler.told.append  # type: ignore[method-assign]
        self.watches.append(handler)
        return handler

    def ask(self, path: str, body: Body, **headers: str) -> asyncio.Task[PageResponse]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request: PageRequest = page_request("POST", f"/v3/{path}", fields, body, Caller("test"))
        return asyncio.ensure_future(self.gateway.page(request))

    def counted(self, name: str) -> tuple[int, int]:
        """Calls started and finished."""
        counts = self.methods[f"/etcdserverpb.{name}"].counts
        return counts.started, sum(counts.finished)


def scenario(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def line(response: PageResponse) -> Any:
    assert not isinstance(response.body, bytes)
    text = b""
    while not text.endswith(b"\n"):
        text += await anext(response.body)
    return json.loads(text)["result"]


async def end(response: PageResponse) -> None:
    await response.body.aclose()  # type: ignore[union-attr]


CREATE = b'{"create_request":{"key":"YQ=="}}'


def message(size: int = 0) -> bytes:
    return rpc.WatchResponse(watch_id=7, cancel_reason="x" * size).SerializeToString()


def test_a_fault_of_a_service_is_answered_as_unknown_and_a_refusal_as_what_it_is() -> None:
    async def test() -> None:
        service = Service()
        for key, status, body in (
            ("ZmFpbA==", 503, b'{"code":14,"message":"etcdserver: no leader"}'),
            ("YnJlYWs=", 500, b'{"code":2,"message":"internal error"}'),
        ):
            answer = await service.ask("kv/range", Sent(b'{"key":"%b"}' % key.encode()))
            assert (answer.status, answer.body) == (status, body)
        assert service.counted("KV/Range") == (2, 2)

    scenario(test)


def test_a_long_text_is_read_in_a_thread_that_ends_with_the_gateway() -> None:
    async def test() -> None:
        service = Service()
        body = b'{"limit":"5","unknown":"%b"}' % (b"x" * (100 << 10))
        answer = await service.ask("kv/range", Sent(body))
        assert (answer.status, answer.body) == (200, b'{"count":"5"}')
        assert "json_0" in [thread.name for thread in threading.enumerate()]
        service.gateway.close()

    scenario(test)


def test_a_call_ends_with_its_timeout_or_its_client() -> None:
    async def test() -> None:
        service = Service()
        late = await service.ask("kv/put", Sent(b"{}"), grpc_timeout="10m")
        assert (late.status, service.puts[0].cancelled()) == (504, True)
        gone = service.ask("kv/put", Sent(b"{}"))
        await turns()
        gone.cancel()
        await asyncio.wait([gone])
        assert service.puts[1].cancelled()
        assert service.counted("KV/Put") == (2, 2)

    scenario(test)


def begin(
    service: Service, path: str, text: bytes, **headers: str
) -> tuple[list[PageResponse], Callable[[], None] | None]:
    """Ask without a task; returns the responses so far and what cancels the call."""
    responses: list[PageResponse] = []
    return responses, _begin(service, path, text, responses.append, **headers)


def _begin(
    service: Service, path: str, text: bytes, respond: Respond, **headers: str
) -> Callable[[], None] | None:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = page_request("POST", f"/v3/{path}", fields, Sent(text), Caller("test"))
    return service.gateway.begin(request, text, respond)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("kv/range", b'{"limit":5}'),
        ("kv/range", b'{"key":"ZmFpbA=="}'),
        ("kv/range", b'{"key":"YnJlYWs="}'),
        ("kv/range", b'{"limit":'),
        ("kv/range", b""),
        ("kv/none", b"{}"),
    ],
)
def test_a_call_without_a_task_is_answered_as_one_with_a_task(path: str, text: bytes) -> None:
    async def test() -> None:
        service = Service()
        responses, cancel = begin(service, path, text)
        assert cancel is not None
        assert responses == [await service.ask(path, Sent(text))]
        started, finished = service.counted("KV/Range")
        assert started == finished

    scenario(test)


def test_a_call_without_a_task_ends_with_its_response_or_its_client() -> None:
    async def test() -> None:
        service = Service(at_once=2)
        first, cancel_first = begin(service, "kv/put", b"{}")
        second, cancel_second = begin(service, "kv/put", b"{}")
        assert begin(service, "kv/put", b"{}") == ([], None)  # no slot is free
        assert cancel_first is not None
        assert cancel_second is not None
        cancel_first()
        assert service.puts[0].cancelled()
        service.puts[1].set_result(b"")
        await turns()
        cancel_second()
        assert (first, [one.body for one in second]) == ([], [b"{}"])
        assert service.counted("KV/Put") == (2, 2)
        for _ in range(2):
            assert begin(service, "kv/put", b"{}")[1] is not None
        assert begin(service, "kv/put", b"{}")[1] is None

    scenario(test)


def test_an_answer_whose_client_goes_away_before_it_is_sent_holds_no_memory() -> None:
    async def test() -> None:
        service = Service()
        asked = service.ask("kv/put", Sent(b"{}"))
        await turns()
        previous = rpc.PutResponse(prev_kv={"value": b"x" * 2 * PIECE})  # type: ignore[arg-type]
        service.puts[0].set_result(previous.SerializeToString())
        memory = service.gateway._calls["/v3/kv/put"][1]._json.answers
        while not memory._others.held:
            await asyncio.sleep(0)
        assert not asked.done()
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert memory._others.held == 0
        assert service.gateway._slots._free == 1000
        assert service.counted("KV/Put") == (1, 1)

    scenario(test)


@pytest.mark.parametrize("direct", [False, True])
def test_answers_that_one_result_wakes_are_rendered_in_the_time_of_the_door(direct: bool) -> None:
    async def test() -> None:
        ticks = itertools.count()
        service = Service(budget=TimeBudget(lambda: next(ticks) * 1e-3))
        done: list[object] = []
        for _ in range(50):
            if direct:
                _begin(service, "kv/put", b"{}", done.append)
            else:
                service.ask("kv/put", Sent(b"{}")).add_done_callback(done.append)
        await turns()
        value = rpc.PutResponse(prev_kv={"value": b"x" * 2 * SHORT})  # type: ignore[arg-type]
        for put in service.puts:
            put.set_result(value.SerializeToString())
        while len(done) < 50:
            before = len(done)
            await asyncio.sleep(0)
            assert len(done) - before <= BACKLOG * 1000

    scenario(test)


def test_a_call_that_is_cancelled_before_its_answer_is_rendered_is_not_answered() -> None:
    async def test() -> None:
        service = Service()
        responses, cancel = begin(service, "kv/put", b"{}")
        value = rpc.PutResponse(prev_kv={"value": b"x" * 2 * SHORT})  # type: ignore[arg-type]
        pending, service.puts = service.puts[0], []
        pending.set_result(value.SerializeToString())
        while not service.gateway._renderings._queue:
            await asyncio.sleep(0)
        assert cancel is not None
        cancel()
        await turns()
        assert responses == []
        assert service.counted("KV/Put") == (1, 1)
        assert service.gateway._slots._free == 1000

    scenario(test)


def test_one_long_value_is_sent_in_parts() -> None:
    async def test() -> None:
        service = Service()
        asked = service.ask("kv/put", Sent(b"{}"))
        await turns()
        value = rpc.PutResponse(prev_kv={"value": b"x" * 5 * PIECE})  # type: ignore[arg-type]
        service.puts[0].set_result(value.SerializeToString())
        response = await asked
        assert not isinstance(response.body, bytes)
        parts = [part async for part in response.body]
        assert max(map(len, parts)) <= PIECE
        sent = json.loads(b"".join(parts))["prev_kv"]["value"]
        assert base64.b64decode(sent) == b"x" * 5 * PIECE
        await end(response)

    scenario(test)


def test_calls_that_need_a_task_are_left_to_one() -> None:
    async def test() -> None:
        service = Service()
        for path, text, headers in (
            ("kv/put", b"{}", {"grpc_timeout": "1S"}),
            ("kv/put", b" " * (100 << 10), {}),
            ("watch", CREATE, {}),
        ):
            assert begin(service, path, text, **headers) == ([], None)
        assert service.counted("KV/Put") == (0, 0)

    scenario(test)


def test_calls_above_the_limit_wait_in_their_order() -> None:
    async def test() -> None:
        service = Service(at_once=2)
        watch = await_first(service)
        first = await watch
        puts = [service.ask("kv/put", Sent(b"{}")) for _ in range(4)]
        await turns()
        assert len(service.puts) == 1
        puts[1].cancel()
        service.puts[0].set_result(b"")
        await turns()
        assert [put.done() for put in puts] == [True, True, False, False]
        assert len(service.puts) == 2
        await end(first)
        await turns()
        assert len(service.puts) == 3
        for put in service.puts[1:]:
            put.set_result(b"")
        assert [(await put).status for put in puts[2:]] == [200, 200]
        again = [service.ask("kv/range", Sent(b"{}")) for _ in range(3)]
        assert [(await each).status for each in again] == [200] * 3

    async def await_first(service: Service) -> PageResponse:
        asked = service.ask("watch", Sent(CREATE, ends=False))
        await turns()
        service.watches[0].responses.send(message())
        return await asked

    scenario(test)


def test_a_stream_tells_its_service_when_its_client_does_not_read_and_when_it_does() -> None:
    async def test() -> None:
        service = Service()
        asked = service.ask("watch", Sent(CREATE, CREATE * 3, ends=False))
        await turns(50)
        watch = service.watches[0]
        assert len(watch.told) == 4
        for _ in range(2):
            assert watch.responses.ready()
            watch.responses.send(message(HIGH_BYTES // 2))
        assert not watch.responses.ready()
        response = await asked
        assert "drained" not in watch.told
        assert (await line(response))["watch_id"] == "7"
        watch.responses.send(message())
        await line(response)
        assert "drained" in watch.told
        assert watch.responses.ready()
        await end(response)
        assert watch.told[-1] == "closed"
        assert watch.told.count("closed") == 1
        assert service.counted("Watch/Watch") == (1, 1)

    scenario(test)


def test_requests_are_not_read_while_responses_are_not() -> None:
    async def test() -> None:
        service = Service()
        body = Sent(*[CREATE] * 50, ends=False)
        asked = service.ask("watch", body)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        watch = service.watches[0]
        watch.responses.send(message(HIGH_BYTES))
        await turns(100)
        assert len(watch.told) < 5
        assert body.asked < 7
        response = await asked
        async for _ in response.body:  # type: ignore[union-attr]
            if len(watch.told) > 50:
                break
            watch.responses.send(message())
            await turns(5)
        await end(response)

    scenario(test)


@pytest.mark.parametrize(
    "body", [b"nonsense", b"[]", CREATE + b"}", b'{"create_request":{"key":7}}']
)
def test_what_is_no_request_ends_the_requests_and_not_the_stream(body: bytes) -> None:
    async def test() -> None:
        service = Service()
        asked = service.ask("watch", Sent(body, ends=False))
        await turns()
        watch = service.watches[0]
        assert watch.told[-1] == "half closed"
        watch.responses.send(message())
        response = await asked
        assert (await line(response))["watch_id"] == "7"
        await end(response)

    scenario(test)


def test_a_stream_that_fails_is_answered_by_its_first_message_or_by_a_status() -> None:
    async def test() -> None:
        service = Service()
        asked = service.ask("watch", Sent(ends=False))
        await turns()
        service.watches[0].responses.finish(NO_LEADER())
        answer = await asked
        error = b'{"error":{"code":14,"message":"etcdserver: no leader"}}\n'
        assert (answer.status, answer.body) == (503, error)
        asked = service.ask("watch", Sent(ends=False))
        await turns()
        service.watches[1].responses.send(message())
        service.watches[1].responses.finish(NO_LEADER())
        answer = await asked
        assert answer.status == 200
        assert (await line(answer))["watch_id"] == "7"
        assert [each async for each in answer.body] == [error]  # type: ignore[union-attr]
        await end(answer)
        assert service.counted("Watch/Watch") == (2, 2)

    scenario(test)


def test_a_member_that_stops_ends_its_streams() -> None:
    async def test() -> None:
        service = Service()
        asked = [service.ask("watch", Sent(ends=False)) for _ in range(3)]
        timed = service.ask("watch", Sent(ends=False), grpc_timeout="20m")
        await turns()
        assert (await timed).status == 504
        service.gateway.stop()
        assert [(await each).status for each in asked] == [503] * 3
        assert all(watch.told[-1] == "closed" for watch in service.watches)

    scenario(test)


LONG = b"x" * (PIECE + 1)


async def sending(answer: Answer) -> None:
    answer.sent_by(asyncio.current_task())
    try:
        await asyncio.Event().wait()
    finally:
        answer.release()


def test_long_answers_are_made_one_at_a_time_while_there_is_memory() -> None:
    async def test() -> None:
        memory = AnswerMemory(len(LONG))
        first, second, third, given_up, last = (Answer(memory) for _ in range(5))
        assert first.wait(small=True) is None
        assert first.wait() is None
        assert first.wait() is None  # it has its turn already
        turns = [answer.wait() for answer in (second, third, given_up, last)]
        assert first.wait(small=True) is None
        first.made(LONG)
        assert [turn is not None and turn.done() for turn in turns] == [True, False, False, False]
        second.made(LONG)
        assert turns[1] is not None
        assert not turns[1].done()
        given_up.release()
        first.release()
        assert turns[1].done()
        # What takes nothing, or fails, makes way at once.
        third.made(b"short")
        assert turns[3] is not None
        assert turns[3].done()
        failed: Pending[bytes] = Pending()
        last.result = failed
        assert last.wait() is None
        failed.set_exception(ValueError())
        assert Answer(memory).wait() is None

    scenario(test)


def test_an_answer_that_is_not_read_is_cut_off_when_others_wait() -> None:
    async def test() -> None:
        memory = AnswerMemory(len(LONG))
        answers = [Answer(memory) for _ in range(2)]
        for answer in answers:
            assert answer.wait() is None
            answer.made(LONG)
        slow, read = (asyncio.ensure_future(sending(answer)) for answer in answers)
        await turns()
        for _ in range(2 * SLOW_SECONDS):
            memory.check_slow()
        assert not slow.cancelling()  # nobody waits
        turn = Answer(memory).wait()
        assert turn is not None
        for _ in range(SLOW_SECONDS):
            assert not slow.cancelling()
            answers[1].take(len(LONG) // MOVED_PART + 1)
            memory.check_slow()
        await turns()
        assert slow.cancelled()
        assert turn.done()
        assert not read.cancelling()
        read.cancel()

    scenario(test)


def test_large_values_do_not_wait_and_are_cut_off_beyond_the_memory() -> None:
    async def test() -> None:
        memory = AnswerMemory(2 * len(LONG))
        values = [Answer(memory) for _ in range(3)]
        pages = []
        for value in values:
            assert value.wait(small=True) is None
            value.made(LONG)
            pages.append(asyncio.ensure_future(sending(value)))
            await turns()
            values[0].take(1)
        await turns()
        assert [page.cancelled() for page in pages] == [False, True, False]
        # Reads of many keys have an account of their own.
        assert Answer(memory).wait() is None
        for page in pages:
            page.cancel()

    scenario(test)


def test_headers_become_the_metadata_that_grpc_gateway_makes_of_them() -> None:
    assert metadata(
        {
            "authorization": "token",
            "accept": "*/*",
            "content-length": "5",
            "x-anything": "1",
            "grpc-metadata-hasleader": "true",
            "grpc-metadata-data-bin": "AA==",
            "grpc-metadata-grpcgateway-accept": "spoofed",
            "grpc-metadata-": "empty",
            "grpc-metadata-a b": "space",
            "grpc-metadata-text": "caf\u00e9",
        }
    ) == {
        "authorization": "token",
        "grpcgateway-authorization": "token",
        "grpcgateway-accept": "*/*",
        "hasleader": "true",
    }
    assert metadata({}) == {"grpcgateway-accept": ""}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("", None), ("aGVsbG8=", None), ("aGVsbG8", None), ("aGV=", None), ("aG==", None),
        ("***", 0), ("a", 0), ("aG=VsbG8", 2), ("aGVsbG=8", 6), ("aGV sbG8", 3), ("aG==x===", 4),
        ("=", 0), ("aGVsbG8==", 7), ("_-_-", 0), ("aGVsb===", 5), ("aGVsbG9===", 7),
    ],
)  # fmt: skip
def test_binary_metadata_must_be_base64(given: str, wrong: int | None) -> None:
    """The places of mistakes as etcd 3.7.3 answers them."""
    fields = {"grpc-metadata-x-bin": given}
    if wrong is None:
        assert metadata(fields) == {"grpcgateway-accept": ""}
        return
    with pytest.raises(ValueError, match="binary") as refused:
        metadata(fields)
    assert str(refused.value) == (
        f"invalid binary header Grpc-Metadata-X-Bin: illegal base64 data at input byte {wrong}"
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("", None), ("5S", 5), ("20m", 0.02), ("0S", None), ("1H", 3600), ("9" * 18 + "H", None)],
)
def test_a_timeout_is_read(given: str, seconds: float | None) -> None:
    assert timeout({"grpc-timeout": given}) == seconds


@pytest.mark.parametrize("given", ["S", "5", "5x", "x5S", "1.5S", "9" * 30 + "S", "\u0665S"])
def test_a_malformed_timeout_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="invalid grpc-timeout"):
        timeout({"grpc-timeout": given})
