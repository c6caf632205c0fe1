"""The memory budget of all clients: which calls wait, and which connections are closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from hpack import Encoder

from rusd.door import memory_budget
from rusd.door.grpc import server
from rusd.door.grpc.answer_queue import MUCH
from rusd.door.grpc.connection import WRITE_HIGH, GrpcConnection
from rusd.door.grpc.server import OVERHEAD_BYTES
from rusd.door.h2 import PREFACE
from rusd.door.h2 import frames as wire
from rusd.door.memory_budget import LEAST, MOST, RESERVATIONS, MemoryBudget
from tests.unit.door.test_hostile_clients import Client
from tests.unit.door.test_turns import connected, head, message, requests, with_a_door
from tests.unit.door.toys import LIMIT, REQUEST, Served, served

BUDGET = 16 << 20
LARGEST = LIMIT + OVERHEAD_BYTES
SECOND = 0.05
FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/toy.Toys/Echo"),
    ("content-type", "application/grpc"),
]


def over_the_wire(test: Callable[[Served], Awaitable[None]], budget: int = 0) -> None:
    async def run() -> None:
        async with served(memory_budget=budget) as one:
            await asyncio.wait_for(test(one), 120)

    asyncio.run(run())


async def nothing_held(one: Served) -> None:
    """Wait for it: what a socket holds is counted once in a sweep."""
    while one.door.memory.held:
        await asyncio.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP", SECOND)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps rarer, so that a client whose threads wait for a processor does not count as idle."""
    monkeypatch.setattr(server, "SWEEP", 2 * SECOND)


@pytest.mark.parametrize(
    ("machine", "budget"),
    [(1 << 40, MOST), (1 << 30, 128 << 20), (100 << 20, LEAST), (0, LEAST)],
)
def test_the_budget_follows_the_size_of_the_machine(
    machine: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_budget, "memory_of_machine", lambda: machine)
    assert memory_budget.default_budget(2 << 20) == budget
    assert memory_budget.default_budget(100 << 20) == 400 << 20


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [tmp_path / name for name in ("none", "max", "limit")]
    limits[1].write_text("max\n")
    monkeypatch.setattr(memory_budget, "_CGROUP_LIMITS", tuple(limits))
    assert memory_budget.memory_of_machine() > 1 << 20
    limits[2].write_text("1048576\n")
    assert memory_budget.memory_of_machine() == 1 << 20


def test_connections_that_hold_something_are_held_back_first() -> None:
    budget = MemoryBudget(1000, lambda _: None, lambda: None)
    budget.add(500)
    assert not budget.exceeds_share(1) and not budget.above_half
    budget.add(1)
    assert budget.exceeds_share(1) and budget.above_half
    assert not budget.exceeds_share(0)
    budget.add(250)
    assert budget.exceeds_share(0)


def test_waiting_calls_continue_in_order_once_there_is_space() -> None:
    soon: list[Callable[[], None]] = []
    exceeded: list[int] = []
    budget = MemoryBudget(1000, soon.append, lambda: exceeded.append(1))
    told: list[str] = []

    def turn() -> None:
        while soon:
            soon.pop(0)()

    budget.add(600)
    waiting: dict[str, Callable[[], None]] = {
        name: (lambda name=name: told.append(name)) for name in "abc"
    }
    for later in waiting.values():
        budget.wait_for_space(later)
    budget.forget(waiting["b"])
    budget.add(-50)
    turn()
    assert told == []
    budget.add(-50)
    turn()
    assert told == ["a", "c"]
    assert exceeded == []
    budget.add(501)
    turn()
    assert exceeded == [1]


def test_a_request_that_does_not_fit_is_not_looked_at_until_something_changes() -> None:
    soon: list[Callable[[], None]] = []
    budget = MemoryBudget(1000, soon.append, lambda: None)
    budget.reserve(1, 300)
    assert not budget.may_reserve(700, lambda: None)
    assert budget.must_free
    budget.reserve(0, -100)
    soon.pop()()
    assert not soon


def test_a_few_large_requests_get_a_reservation_however_little_memory_is_free() -> None:
    budget = MemoryBudget(1000, lambda _: None, lambda: None)
    budget.add(700)
    for _ in range(RESERVATIONS):
        assert budget.may_reserve(1, lambda: None)
        budget.reserve(1, 0)
    assert not budget.may_reserve(1, lambda: None)
    budget.reserve(-1, 0)
    assert budget.may_reserve(1, lambda: None)


def test_what_is_promised_counts_before_it_is_sent() -> None:
    budget = MemoryBudget(1000, lambda _: None, lambda: None)
    assert budget.may_reserve(2000, lambda: None), "one is always let in"
    budget.reserve(1, 400)
    assert budget.may_reserve(100, lambda: None)
    budget.reserve(RESERVATIONS - 1, 100)
    assert not budget.may_reserve(1, lambda: None)
    budget.reserve(-RESERVATIONS, -500)
    assert budget.may_reserve(500, lambda: None)


def test_many_large_requests_at_once_on_one_connection_are_all_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Far more than may be kept: the client is held back, and nothing is refused."""
    monkeypatch.setattr(server, "KEPT_LEAST", 0)
    monkeypatch.setattr(server, "KEPT_REQUESTS", 2)
    most = 0

    async def test(one: Served) -> None:
        count = one.door.memory.add

        def add(size: int) -> None:
            nonlocal most
            count(size)
            most = max(most, one.door.memory.held)

        monkeypatch.setattr(one.door.memory, "add", add)
        raw = REQUEST(value=bytes(LARGEST - 100)).SerializeToString()
        calls = [one.call("toy.Toys/Large", raw, timeout=60) for _ in range(100)]
        for answer in await asyncio.gather(*calls):
            assert len(answer.value) == 1 << 20
        await nothing_held(one)
        limits = one.door.limits
        # (What waits of the answers is bounded as well.)
        assert most <= 2 * limits.kept + limits.connection_window + 100 * 1024 + MUCH

    over_the_wire(test)


def test_a_client_that_reads_none_of_its_answers_is_cut_off_for_one_that_does(
    quick: None,
) -> None:
    """Stalled streams hold half of the budget at most, for some seconds."""

    async def test(one: Served) -> None:
        clients = []
        for _ in range(40):
            client = Client()
            await client.connect(one.port)
            client.call("Talk", b"", ended=False)
            client.writer.write(client.h2.data_to_send())
            clients.append(client)
        while len(one.toys.streams) < 40:
            await asyncio.sleep(0.01)
        most = 0
        while not one.door.memory.above_half:
            for handler in one.toys.streams:
                if handler.responses.ready():
                    handler.responses.send(bytes(300 << 10))
            await asyncio.sleep(0)
            most = max(most, one.door.memory.held)
        assert most <= BUDGET
        assert (await one.call("toy.Toys/Large", b"")).value
        while one.door.memory.above_half:
            await asyncio.sleep(SECOND)
        # (The streams of a connection that was closed end in later turns.)
        while not any(handler.over.is_set() for handler in one.toys.streams):
            await asyncio.sleep(0)
        assert not all(handler.over.is_set() for handler in one.toys.streams)
        for client in clients:
            client.writer.close()

    over_the_wire(test, BUDGET)


def test_one_event_for_very_many_streams_stays_within_the_budget(quick: None) -> None:
    """In one turn of the loop; the streams that were not ready are told when they are."""

    async def test(one: Served) -> None:
        streams = [one.talk() for _ in range(40)]
        for stream in streams:
            await stream.write(b"")
        while len(one.toys.streams) < 40 or not all(each.told for each in one.toys.streams):
            await asyncio.sleep(0.01)
        sent = 0
        for handler in one.toys.streams:
            if handler.responses.ready():
                handler.responses.send(bytes(1 << 20))
                sent += 1
        assert 8 <= sent <= 13
        reading = [asyncio.ensure_future(stream.read()) for stream in streams]
        while sum(each.done() for each in reading) < sent:
            await asyncio.sleep(0.01)
        while sum(handler.told.count("drained") for handler in one.toys.streams) < 40 - sent:
            await asyncio.sleep(0.01)
        for stream, each in zip(streams, reading, strict=True):
            each.cancel()
            stream.cancel()
        for handler in one.toys.streams:
            await handler.over.wait()
        await nothing_held(one)

    over_the_wire(test, BUDGET)


def test_a_stream_that_waits_for_memory_continues_when_some_is_free(quick: None) -> None:
    async def test(one: Served) -> None:
        stream = one.talk()
        await stream.write(REQUEST(key=b"one").SerializeToString())
        while not (one.toys.streams and one.toys.streams[0].told):
            await asyncio.sleep(0.01)
        (handler,) = one.toys.streams
        one.door.memory.add(BUDGET * 4 // 5)
        assert not handler.responses.ready()
        await stream.write(REQUEST(key=b"two").SerializeToString())
        assert (await one.call("toy.Toys/Echo", b"")) == REQUEST()
        assert handler.told == [b"one"]
        one.door.memory.add(-BUDGET * 4 // 5)
        while handler.told != [b"one", "drained", b"two"]:
            await asyncio.sleep(0.01)
        stream.cancel()

    over_the_wire(test, BUDGET)


@pytest.mark.parametrize("pieces", [0, 3], ids=["prefixes alone", "much of each"])
def test_clients_that_never_end_their_requests_are_cut_off_for_one_that_does(
    patient: None, pieces: int
) -> None:
    """The bodies hold memory, or only make the member reserve it."""

    async def test(one: Served) -> None:
        clients = []
        for _ in range(20):
            client = Client()
            await client.connect(one.port)
            clients.append(client)
            client.writer.write(client.h2.data_to_send())
            client.h2.receive_data(await client.reader.read(65_536))
            for _ in range(20):
                stream = client.open("Echo")
                client.h2.send_data(stream, b"\0" + (LARGEST - 100).to_bytes(4, "big"))
                for _ in range(pieces):
                    client.h2.send_data(stream, bytes(16_000))
            client.writer.write(client.h2.data_to_send())
        while sum(channel.h2.inbound.collected > 0 for channel in one.door.connections) < 20:
            await asyncio.sleep(0.01)
            if len(one.door.connections) < 20:
                break  # some are gone already
        raw = REQUEST(value=bytes(LARGEST - 100)).SerializeToString()
        for _ in range(2 * RESERVATIONS):
            # (Each waits for several sweeps.)
            assert len((await one.call("toy.Toys/Echo", raw, timeout=60)).value) == LARGEST - 100
        for client in clients:
            client.writer.close()
        while len(one.door.connections) > 1:
            await asyncio.sleep(0.01)
        await nothing_held(one)
        budget = one.door.memory
        assert (budget.reserved, budget.outstanding) == (0, 0)

    over_the_wire(test, BUDGET)


def test_many_connections_with_many_large_requests_are_all_served(patient: None) -> None:
    """Several times the budget at once: they wait for each other, and nobody is cut off."""

    async def test(one: Served) -> None:
        raw = REQUEST(value=bytes(LARGEST - 100)).SerializeToString()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{one.port}", options=options) for _ in range(10)
        ]
        calls = [
            channel.unary_unary("/toy.Toys/Refuse")(raw, timeout=60)
            for channel in channels
            for _ in range(20)
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        codes = {getattr(answer, "code", lambda: None)() for answer in answers}
        assert codes == {grpc.StatusCode.INVALID_ARGUMENT}
        for channel in channels:
            await channel.close()

    over_the_wire(test, 2 * BUDGET)


def test_above_the_budget_the_connection_that_holds_most_goes_at_once() -> None:
    async def test(one: Served) -> None:
        await one.call("toy.Toys/Echo", b"")
        (honest,) = one.door.connections
        worst, lesser = Client(), Client()
        for client, count in ((worst, 9), (lesser, 3)):
            await client.connect(one.port)
            for _ in range(count):
                client.call("Large", b"")
            client.writer.write(client.h2.data_to_send())
        while one.toys.made < 8:
            await asyncio.sleep(0.01)
        held = one.door.memory.held
        one.door.memory.add(BUDGET - held)
        assert len(one.door.connections) == 3
        one.door.memory.add(1)
        while len(one.door.connections) == 3:
            await asyncio.sleep(0.01)
        assert honest in one.door.connections
        while await worst.reader.read(65_536):
            pass
        for client in (worst, lesser):
            client.writer.close()

    over_the_wire(test, BUDGET)


def test_a_connection_that_fails_with_many_streams_can_be_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While its streams are ended turn by turn, what they hold is the most of all."""

    async def test(one: Served) -> None:
        _, writer = await connected(one)
        writer.write(requests(300, head("Talk"), b"", ended=False))
        while len(one.toys.streams) < 300:
            await asyncio.sleep(0)
        (failing,) = one.door.connections
        writer.write(wire.frame(wire.PUSH_PROMISE, 0, 1))
        while not failing.h2.closed:
            await asyncio.sleep(0)
        assert failing.h2.streams
        cut, cut_off = [], one.door._close_for_memory

        def counted(channel: GrpcConnection) -> None:
            cut.append(channel)
            assert len(cut) < 10
            cut_off(channel)

        monkeypatch.setattr(one.door, "_close_for_memory", counted)
        one.door.memory.half = 0
        one.door._close_largest()
        assert cut == [failing]
        assert one.door.memory.overhead == 0
        writer.close()

    with_a_door(test)


def test_calls_that_end_while_they_wait_for_room_leave_nothing_behind() -> None:
    """By their deadline, or by a reset in the same read."""

    async def test(one: Served) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(PREFACE + wire.frame(wire.SETTINGS, 0, 0))
        writer.write(requests(2 * MUCH >> 20, head("Large"), message(b"")))
        while one.toys.made <= MUCH >> 20:
            await asyncio.sleep(0.01)
        (channel,) = one.door.connections
        ended = len(one.finished)
        for stream in range(1001, 1201, 2):
            fields = {"grpc_timeout": "300m"} if stream % 4 == 1 else {}
            block = head("Large", **fields)
            writer.write(wire.frame(wire.HEADERS, wire.END_HEADERS, stream, block))
            writer.write(wire.frame(wire.DATA, wire.END_STREAM, stream, message(b"")))
            if not fields:
                writer.write(wire.reset(stream, 8))
        while len(one.finished) < ended + 100:
            await asyncio.sleep(0.01)
        assert len(channel.answers) <= 2 * MUCH >> 20
        writer.close()

    over_the_wire(test)


def test_memory_is_given_back_once_much_of_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory_budget, "trim", lambda: trims.append(1))
    budget = MemoryBudget(BUDGET * 4, lambda _: None, lambda: None)
    budget.add(memory_budget.WORTH_TRIMMING)
    budget.trim_freed()
    assert trims == []
    budget.add(-memory_budget.WORTH_TRIMMING)
    budget.trim_freed()
    # Not between two requests: what is used again would only have to be fetched again.
    assert trims == []
    budget.trim_freed()
    budget.trim_freed()
    assert trims == [1]


def test_refused_calls_do_not_count(quick: None) -> None:
    async def test(one: Served) -> None:
        raw = bytes(LARGEST + 1)
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError):
                await one.call("toy.Toys/Echo", raw)
        await nothing_held(one)

    over_the_wire(test)


def many_streams() -> bytes:
    return requests(3000, head("Talk"), b"", ended=False)


def large_headers() -> bytes:
    return requests(60, head("Echo", token="t" * 16_000), b"", ended=False)


def small_headers() -> bytes:
    fields = {f"x{number}": "" for number in range(150)}
    return requests(200, head("Echo", **fields), b"", ended=False)


def endless_block() -> bytes:
    piece = bytes(16_000)
    return wire.frame(wire.HEADERS, 0, 1, piece) + wire.frame(wire.CONTINUATION, 0, 1, piece) * 3


def remembered_headers() -> bytes:
    """Blocks of a few bytes that stand for a hundred fields each."""
    encoder = Encoder()
    fields = [(f"x{number}", "") for number in range(100)]
    first = encoder.encode(FIELDS + fields)
    later = [encoder.encode(FIELDS + fields[number:]) for number in range(64)]
    return b"".join(
        wire.frame(wire.HEADERS, wire.END_HEADERS, 1 + 2 * number, block)
        + wire.frame(wire.DATA, wire.END_STREAM, 1 + 2 * number, message(b""))
        for number, block in enumerate([first, *later])
    )


@pytest.mark.parametrize(
    "attack", [many_streams, large_headers, small_headers, endless_block, remembered_headers]
)
def test_streams_and_headers_of_all_clients_together_are_bounded(
    attack: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that has most goes at once; those with little, and their calls, stay."""

    async def test(one: Served) -> None:
        talk = one.talk()
        await talk.write(b"")
        budget = one.door.memory
        budget.half = 1 << 20
        cut, cut_off = [], one.door._close_for_memory
        monkeypatch.setattr(one.door, "_close_for_memory", lambda it: (cut.append(it), cut_off(it)))
        attackers = []
        while not cut:
            _, writer = await connected(one)
            writer.write(attack())
            attackers.append(writer)
            await asyncio.sleep(0)
        while budget.overhead > budget.half:
            await asyncio.sleep(0)
        assert (await one.call("toy.Toys/Echo", b"")) is not None
        assert not talk.done()
        for writer in attackers:
            writer.close()
        talk.cancel()

    over_the_wire(test, BUDGET)


def test_nothing_is_counted_for_streams_and_headers_that_are_gone() -> None:
    async def test(one: Served) -> None:
        for attack in (many_streams, large_headers, endless_block, remembered_headers):
            _reader, writer = await connected(one)
            writer.write(attack())
            while not one.door.memory.overhead:
                await asyncio.sleep(0)
            writer.close()
            while one.door.memory.overhead:
                await asyncio.sleep(0)
        assert not one.door.connections

    over_the_wire(test)


def test_what_a_transport_holds_below_its_mark_is_counted(quick: None) -> None:
    async def test(one: Served) -> None:
        writers = []
        for _ in range(20):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            client.connect(("127.0.0.1", one.port))
            _, writer = await connected(one, client)
            writer.write(requests(1, head("Talk"), message(b""), ended=False))
            writers.append(writer)
        while len(one.toys.streams) < 20:
            await asyncio.sleep(0.01)
        for handler in one.toys.streams:
            handler.responses.send(bytes(WRITE_HIGH - 1000))
        while one.door.memory.held < 20 * WRITE_HIGH // 4:
            await asyncio.sleep(SECOND)
        for writer in writers:
            writer.close()
        while one.door.connections:
            await asyncio.sleep(0.01)
        await nothing_held(one)

    over_the_wire(test)


def unlimited(one: Served) -> grpc.aio.Channel:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    return grpc.aio.insecure_channel(f"127.0.0.1:{one.port}", options=options)


def test_one_answer_larger_than_the_budget_is_sent_when_nothing_else_is_held(
    patient: None,
) -> None:
    async def test(one: Served) -> None:
        async with unlimited(one) as channel:
            sized = channel.unary_unary("/toy.Toys/Sized", response_deserializer=REQUEST.FromString)
            raw = REQUEST(lease=5 * BUDGET).SerializeToString()
            for _ in range(2):
                assert len((await sized(raw, timeout=60)).value) == 5 * BUDGET
        await nothing_held(one)

    over_the_wire(test, BUDGET)


def test_answers_larger_than_the_budget_are_not_held_side_by_side(quick: None) -> None:
    """The budget then counts for all but one of them."""

    async def test(one: Served) -> None:
        raw = REQUEST(lease=2 * BUDGET).SerializeToString()
        clients = []
        for _ in range(5):
            client = Client()
            await client.connect(one.port)
            client.call("Sized", raw)
            client.writer.write(client.h2.data_to_send())
            clients.append(client)
        while len(one.finished) < 5 or len(one.door.connections) > 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(5 * SECOND)
        assert one.door.memory.held <= 2 * BUDGET + BUDGET // 2
        # It holds up others that need space only until it is known not to read.
        assert (await one.call("toy.Toys/Large", b"")).value
        await nothing_held(one)
        for client in clients:
            client.writer.close()

    over_the_wire(test, BUDGET)


def test_a_small_answer_is_given_while_large_ones_wait_for_memory() -> None:
    async def test(one: Served) -> None:
        await one.call("toy.Toys/Echo", b"")
        one.door.memory.add(BUDGET * 4 // 5)
        large = asyncio.ensure_future(one.call("toy.Toys/Large", b"", timeout=60))
        for _ in range(10):
            assert len((await one.call("toy.Toys/Small", b"")).value) == 10
        assert not large.done()
        one.door.memory.add(-BUDGET * 4 // 5)
        await large

    over_the_wire(test, BUDGET)
