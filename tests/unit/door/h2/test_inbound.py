"""Flow control of requests: buffered bytes are bounded, and every message is received."""

from __future__ import annotations

import random

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded, StreamReset
from hypothesis import given
from hypothesis import strategies as st

from rusd.door.grpc.messages import PREFIX_BYTES, MessageReader
from rusd.door.h2 import Limits, Request, Stream
from rusd.door.h2.inbound import NARROW
from rusd.door.h2.states import MAY_SEND
from rusd.door.memory_budget import MemoryBudget
from tests.unit.door.h2.peer import HEAD, HEADERS, TAIL, Pair, Receiver, Served, frames_of

SETTINGS, WINDOW_UPDATE = 4, 8
LIMITS = Limits(stream_window=4000, connection_window=65_535, kept=40_000)


def framed(message: bytes) -> bytes:
    """A message behind its prefix."""
    return len(message).to_bytes(PREFIX_BYTES, "big") + message


class Collector(Receiver):
    """Keeps a message until it is told to answer it."""

    def __init__(self, stream: Stream, request: Request) -> None:
        super().__init__(stream, request)
        self.inbox = MessageReader(1 << 20, "identity")
        self.message: bytes | None = None

    def data(self, chunk: bytes, ended: bool) -> None:
        self.ended = ended
        self.stream.keep(len(chunk))
        self.inbox.feed(chunk)
        self.message = self.inbox.next()
        if self.message is None:
            self.stream.needs(self.inbox.missing)
        else:
            self.stream.process()

    def answer(self) -> None:
        self.stream.consumed(self.stream.kept)
        self.stream.complete(HEAD, b"", TAIL)


class Collecting(Served):
    def _opened(self, stream: Stream, request: Request, ended: bool) -> Receiver:
        receiver = Collector(stream, request)
        self.receivers.append(receiver)
        return receiver


class Sender:
    """A client that sends many messages at once, as far as it may."""

    def __init__(self, served: Served, sizes: list[int]) -> None:
        self.served = served
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.left: dict[int, bytes] = {}
        self.answered = 0
        self.most = 0
        self.talk()  # what a window is, before anything is sent
        self.talk()
        for size in sizes:
            stream = self.h2.get_next_available_stream_id()
            self.h2.send_headers(stream, HEADERS)
            self.left[stream] = framed(bytes(size))

    def send(self, stream: int, most: int) -> bool:
        """A piece of one message; whether anything could be sent."""
        body = self.left[stream]
        size = min(most, len(body), self.h2.local_flow_control_window(stream))
        if size <= 0:
            return False
        ended = size == len(body)
        self.h2.send_data(stream, body[:size], end_stream=ended)
        self.left[stream] = body[size:]
        if ended:
            del self.left[stream]
        return True

    def talk(self) -> bool:
        """Exchange pending bytes of client and server; return whether the server sent any."""
        self.served.connection.receive(self.h2.data_to_send(), 0.0)
        connection = self.served.connection
        self.most = max(self.most, connection.inbound.kept)
        assert connection.inbound.kept == sum(len(one.inbox) for one in waiting(self.served)) + sum(
            one.stream.kept for one in whole(self.served)
        )
        said = connection.outbound.take()
        for event in self.h2.receive_data(said):
            assert not isinstance(event, StreamReset), event
            self.answered += isinstance(event, StreamEnded)
        return bool(said)


def collectors(served: Served) -> list[Collector]:
    return [one for one in served.receivers if isinstance(one, Collector)]


def whole(served: Served) -> list[Collector]:
    """Messages that wait for an answer."""
    return [
        one for one in collectors(served) if one.message is not None and MAY_SEND[one.stream.state]
    ]


def waiting(served: Served) -> list[Collector]:
    return [one for one in collectors(served) if one.message is None and not one.over]


def bound(limits: Limits, streams: int, largest: int) -> int:
    return 2 * max(limits.kept, largest + 5) + limits.connection_window + streams * NARROW


@given(
    st.lists(st.integers(0, 60_000), min_size=1, max_size=30),
    st.integers(0, 2**32),
    st.sampled_from([1, 100, 5000]),
)
def test_every_message_gets_through_within_the_bound(
    sizes: list[int], seed: int, piece: int
) -> None:
    """In any order, with answers late and early, whether a message fits into a window or not."""
    order = random.Random(seed)
    served = Collecting(LIMITS)
    sender = Sender(served, sizes)
    idle = 0
    while sender.answered < len(sizes):
        sent = False
        for stream in order.sample(sorted(sender.left), len(sender.left)):
            sent |= sender.send(stream, order.randint(1, 16_000) if piece > 1 else 16_000)
            if order.random() < 0.3:
                sender.talk()
        heard = sender.talk()
        done = whole(served)
        if done and (order.random() < 0.5 or not (sent or heard)):
            order.choice(done).answer()
            idle = 0
        idle = 0 if sent or heard else idle + 1
        assert idle < 3, "nobody may go on"
    assert sender.most <= bound(LIMITS, len(sizes), max(sizes))
    connection = served.connection
    assert (connection.inbound.kept, connection.inbound.processing, connection.outbound.queued) == (
        0,
        0,
        0,
    )
    sender.talk()
    sender.talk()
    assert not sender.h2.remote_settings or sender.h2.remote_settings.initial_window_size == 4000


def test_a_message_is_promised_at_once_while_there_is_room() -> None:
    served = Collecting(LIMITS)
    sender = Sender(served, [9000])
    (stream,) = sender.left
    assert sender.send(stream, 2000)
    sender.talk()
    assert sender.h2.local_flow_control_window(stream) == 9005 - 2000


def test_half_sent_messages_never_keep_each_other_from_their_end() -> None:
    """Many more than may be kept: one of them can always go on."""
    served = Collecting(LIMITS)
    sender = Sender(served, [20_000] * 40)
    for _ in range(3):
        for stream in list(sender.left):
            sender.send(stream, 4000)
            sender.talk()
    assert served.connection.inbound.kept > LIMITS.kept
    while sender.left:
        assert any([sender.send(stream, 16_000) for stream in list(sender.left)])
        sender.talk()
        for one in whole(served):
            one.answer()
        sender.talk()
        sender.talk()
    assert sender.most <= bound(LIMITS, 40, 20_000)


def test_a_peer_that_does_not_acknowledge_a_narrow_window_sends_no_more() -> None:
    served = Collecting(LIMITS)
    sender = Sender(served, [3999] * 40)
    sender.talk()
    deaf = sender.h2
    for stream in list(sender.left):
        if not sender.left or deaf.local_flow_control_window(stream) <= 0:
            break
        body = sender.left[stream][:-1]
        window = min(len(body), deaf.local_flow_control_window(stream))
        deaf.send_data(stream, body[:window])
        served.connection.receive(deaf.data_to_send(), 0.0)
        back = [
            one for one in frames_of(served.connection.outbound.take()) if one.kind == WINDOW_UPDATE
        ]
        for one in back:
            if served.connection.inbound.narrowing is None:
                deaf.receive_data(
                    len(one.payload).to_bytes(3, "big")
                    + bytes([WINDOW_UPDATE, 0])
                    + one.stream.to_bytes(4, "big")
                    + one.payload
                )
    assert served.connection.inbound.narrowing is not None
    assert served.connection.inbound.kept <= 2 * LIMITS.kept + LIMITS.connection_window


def test_scarce_memory_lets_few_messages_in_and_all_of_them_in_the_end() -> None:
    """The budget of the member is used up by others; then they are gone."""
    later: list[object] = []
    memory = MemoryBudget(100_000, later.append, lambda: None)
    memory.reserve(1000, 0)
    memory.add(60_000)
    served = Collecting(LIMITS)
    served.connection.inbound.ledger = memory
    sender = Sender(served, [9000, 9000])
    for stream in list(sender.left):
        sender.send(stream, 4000)
    sender.talk()
    sender.talk()
    assert all(sender.h2.local_flow_control_window(stream) == 0 for stream in sender.left)
    memory.add(-60_000)
    while later:
        later.pop(0)()  # type: ignore[operator]
    sender.talk()
    assert any(sender.h2.local_flow_control_window(stream) >= 5000 for stream in sender.left)


@pytest.mark.parametrize("ends", ["reset", "lost"])
def test_what_was_kept_for_a_stream_or_a_connection_is_forgotten_with_it(ends: str) -> None:
    memory = MemoryBudget(1 << 20, lambda _: None, lambda: None)
    served = Collecting(LIMITS)
    served.connection.inbound.ledger = memory
    sender = Sender(served, [9000] * 5)
    for stream in list(sender.left):
        sender.send(stream, 4000)
        sender.talk()
    assert memory.held == served.connection.inbound.kept > 0
    if ends == "lost":
        served.connection.lost()
    else:
        for stream in list(sender.left):
            sender.h2.reset_stream(stream)
        sender.talk()
    assert (memory.held, served.connection.inbound.kept) == (0, 0)
    assert (memory.reserved, memory.outstanding) == (0, 0)


def test_a_small_request_passes_a_connection_that_is_full() -> None:
    served = Collecting(LIMITS)
    sender = Sender(served, [20_000] * 40)
    for _ in range(3):
        for stream in list(sender.left):
            sender.send(stream, 4000)
            sender.talk()
    stream = sender.h2.get_next_available_stream_id()
    sender.h2.send_headers(stream, HEADERS)
    sender.left[stream] = framed(b"small")
    sender.talk()
    assert sender.send(stream, 100)
    sender.talk()
    assert whole(served)[-1].message == b"small"


def test_a_pair_starts_with_the_announced_window() -> None:
    pair = Pair(LIMITS)
    assert pair.client.remote_settings.initial_window_size == 4000


def test_padding_does_not_use_up_what_was_promised() -> None:
    served = Collecting(LIMITS)
    sender = Sender(served, [9000])
    (stream,) = sender.left
    body = sender.left[stream]
    while body:
        window = sender.h2.local_flow_control_window(stream)
        size = min(200, len(body), window)
        assert size > 0, "padding has used up the window"
        padding = min(199, window - size - 1)
        ended = size == len(body)
        sender.h2.send_data(stream, body[:size], ended, padding if padding > 0 else None)
        body = body[size:]
        sender.talk()
    assert len(whole(served)) == 1
