"""Requests and answers between our core and an independent HTTP/2 client."""

from __future__ import annotations

import pytest
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

from rusd.door.h2 import Limits
from rusd.door.h2.errors import NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM
from rusd.door.h2.frames import DATA
from rusd.door.h2.outbound import BATCH_BYTES
from rusd.door.h2.stream import HIGH_BYTES
from tests.unit.door.h2.peer import HEAD, TAIL, Pair, frames_of, named


def test_a_request_arrives_with_headers_body_and_end() -> None:
    pair = Pair()
    pair.open(b"hello", who="me")
    pair.exchange()
    (receiver,) = pair.receivers
    assert receiver.request.method == "POST"
    assert receiver.request.path == "/a/b"
    assert receiver.request.authority == "here"
    assert ("who", "me") in receiver.request.fields
    assert (receiver.body, receiver.ended) == (b"hello", True)


def test_an_answer_is_head_body_and_trailers() -> None:
    pair = Pair()
    pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, b"answer", TAIL)
    events = pair.exchange()
    (response,) = named(events, ResponseReceived)
    assert response.headers == [(":status", "200")]
    assert b"".join(event.data for event in named(events, DataReceived)) == b"answer"
    assert named(events, TrailersReceived)[0].headers == [("done", "yes")]
    assert len(named(events, StreamEnded)) == 1
    assert pair.connection.streams == {}


def test_it_makes_no_difference_where_the_bytes_are_cut() -> None:
    pair = Pair()
    for number in range(3):
        pair.open(b"body %d" % number, n=str(number))
    data = pair.client.data_to_send()
    for at in range(len(data)):
        pair.connection.receive(data[at : at + 1], 0.0)
    assert [receiver.body for receiver in pair.receivers] == [b"body 0", b"body 1", b"body 2"]
    assert all(receiver.ended for receiver in pair.receivers)


def test_repeated_headers_are_interpreted_once() -> None:
    pair = Pair()
    for _ in range(10):
        pair.open(b"x")
        pair.exchange()
    # The first fills the compression table, the second refers to it; the others are the second's.
    assert pair.interpreted == 2
    assert len({id(receiver.request) for receiver in pair.receivers}) == 2


def test_headers_that_change_the_table_are_read_anew() -> None:
    pair = Pair()
    for number in (1, 1, 2, 1, 2, 3, 1):
        pair.open(b"", n=str(number))
        pair.exchange()
    seen = [dict(receiver.request.fields)["n"] for receiver in pair.receivers]
    assert seen == ["1", "1", "2", "1", "2", "3", "1"]


def test_long_headers_come_in_continuations() -> None:
    pair = Pair()
    pair.open(b"", long="x" * 40_000)
    pair.exchange()
    assert dict(pair.receivers[0].request.fields)["long"] == "x" * 40_000


def test_headers_beyond_the_limit_end_the_connection() -> None:
    pair = Pair(Limits(header_list=10_000))
    pair.open(b"", long="x" * 20_000)
    (gone,) = named(pair.exchange(), ConnectionTerminated)
    assert gone.additional_data in (b"header block too large", b"header list too large")
    assert pair.connection.closed


def test_long_trailers_go_in_continuations() -> None:
    from rusd.door.h2 import block

    pair = Pair()
    pair.client.max_inbound_frame_size = 16384
    pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.end(block([(":status", "200"), ("why", "y" * 30_000)]))
    (response,) = named(pair.exchange(), ResponseReceived)
    assert dict(response.headers)["why"] == "y" * 30_000


def test_the_clients_trailers_end_its_request() -> None:
    pair = Pair()
    number = pair.open(b"body", ended=False)
    pair.client.send_headers(number, [("sum", "1")], end_stream=True)
    pair.exchange()
    assert (pair.receivers[0].body, pair.receivers[0].ended) == (b"body", True)


def test_an_early_answer_lets_the_client_stop_sending() -> None:
    pair = Pair()
    pair.open(b"part", ended=False)
    pair.exchange()
    pair.receivers[0].stream.end(HEAD)
    (reset,) = named(pair.exchange(), StreamReset)
    assert reset.error_code == NO_ERROR
    assert not pair.connection.closed


def test_what_was_under_way_for_an_early_answer_is_dropped_quietly() -> None:
    pair = Pair()
    number = pair.open(b"part", ended=False)
    pair.exchange()
    pair.client.send_data(number, b"late", end_stream=True)
    pair.receivers[0].stream.end(HEAD)
    pair.connection.receive(pair.client.data_to_send(), 0.0)
    assert not pair.connection.closed
    assert pair.receivers[0].body == b"part"


def test_a_reset_stream_is_aborted_and_forgotten() -> None:
    pair = Pair()
    number = pair.open(b"part", ended=False)
    pair.exchange()
    pair.client.reset_stream(number)
    pair.exchange()
    assert pair.receivers[0].over
    assert pair.connection.streams == {}
    pair.receivers[0].stream.complete(HEAD, b"late", TAIL)
    assert pair.connection.outbound.take() == b""


def test_streams_above_the_limit_are_refused() -> None:
    pair = Pair(Limits(max_streams=2, streams_at_most=1))
    first, second = pair.open(b"x"), pair.open(b"x")
    events = pair.exchange()
    (reset,) = named(events, StreamReset)
    assert (reset.stream_id, reset.error_code) == (second, REFUSED_STREAM)
    assert [receiver.stream.id for receiver in pair.receivers] == [first]


def test_the_limit_of_streams_is_announced() -> None:
    pair = Pair(Limits(max_streams=7))
    assert pair.client.remote_settings.max_concurrent_streams == 7


def test_a_ping_is_answered_with_its_bytes() -> None:
    pair = Pair()
    pair.client.ping(b"12345678")
    (ack,) = named(pair.exchange(), PingAckReceived)
    assert ack.ping_data == b"12345678"


def test_too_many_pings_end_the_connection() -> None:
    pair = Pair()
    pair.pings_allowed = False
    pair.client.ping(b"12345678")
    (gone,) = named(pair.exchange(), ConnectionTerminated)
    assert gone.additional_data == b"too_many_pings"


def test_an_answer_waits_for_the_clients_window() -> None:
    pair = Pair()
    pair.open(b"")
    pair.exchange()
    stream = pair.receivers[0].stream
    stream.complete(HEAD, b"x" * 100_000, TAIL)
    got = named(pair.exchange(), DataReceived)
    assert sum(len(event.data) for event in got) == 65_535
    assert stream.queued == pair.connection.outbound.queued == 100_000 - 65_535
    for event in got:
        pair.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    events = pair.exchange()
    assert sum(len(event.data) for event in named(events, DataReceived)) == 100_000 - 65_535
    assert named(events, TrailersReceived)
    assert pair.connection.outbound.queued == 0


def test_waiting_streams_take_turns() -> None:
    pair = Pair(_4=1 << 20)
    for _ in range(2):
        pair.open(b"")
    pair.exchange()
    for receiver in pair.receivers:
        receiver.stream.complete(HEAD, b"x" * 60_000, TAIL)
    got = [event.stream_id for event in named(pair.exchange(), DataReceived)]
    # One of them has the connection's window first; what it leaves is shared.
    assert set(got) == {1, 3}


def test_a_stream_that_waits_alone_sends_full_frames_in_order() -> None:
    body = bytes(range(251)) * 1000
    pair = Pair(_4=1 << 20)
    pair.client.increment_flow_control_window(1 << 20)
    pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, body, TAIL)
    got = named(pair.exchange(), DataReceived)
    assert b"".join(event.data for event in got) == body
    assert {len(event.data) for event in got[:-1]} == {16_384}
    assert pair.connection.outbound.queued == 0


def test_a_stream_that_joins_one_with_a_long_answer_has_the_next_frame() -> None:
    pair = Pair(_4=1 << 20)
    pair.client.increment_flow_control_window(1 << 20)
    for _ in range(2):
        pair.open(b"")
    pair.exchange()
    long, short = (receiver.stream for receiver in pair.receivers)
    long.complete(HEAD, b"x" * 800_000, TAIL)
    short.complete(HEAD, b"y" * 20_000, TAIL)
    outbound = pair.connection.outbound
    # (What was framed before it came is under way.)
    first = [one.stream for one in frames_of(outbound.take()) if one.kind == DATA]
    assert first == [long.id] * (BATCH_BYTES // 16_384)
    outbound.pump()
    then = [one.stream for one in frames_of(outbound.take()) if one.kind == DATA]
    assert then[:4] == [long.id, short.id] * 2


def test_a_small_answer_passes_a_stream_without_a_window() -> None:
    pair = Pair(_4=0)
    pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, b"stuck", TAIL)
    pair.exchange()
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    assert pair.connection.outbound.queued == 5
    events = pair.exchange()
    assert named(events, DataReceived)[0].data == b"stuck"


def test_a_smaller_initial_window_counts_for_open_streams() -> None:
    pair = Pair()
    pair.open(b"")
    pair.exchange()
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, b"x" * 100, TAIL)
    got = named(pair.exchange(), DataReceived)
    assert sum(len(event.data) for event in got) == 10


def test_a_full_queue_is_notified_when_it_has_drained() -> None:
    pair = Pair()
    pair.open(b"")
    pair.exchange()
    (receiver,) = pair.receivers
    receiver.stream.head(HEAD)
    while not receiver.stream.full:
        receiver.stream.send(b"x" * 65_536)
    assert receiver.stream.queued > HIGH_BYTES
    events = pair.exchange()
    while receiver.drains == 0:
        for event in named(events, DataReceived):
            pair.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        events = pair.exchange()
    assert not receiver.stream.full
    assert receiver.stream.queued <= HIGH_BYTES // 2


def test_nothing_is_framed_while_the_socket_is_full() -> None:
    pair = Pair()
    pair.open(b"")
    pair.exchange()
    pair.connection.outbound.hold(True)
    pair.receivers[0].stream.complete(HEAD, b"later", TAIL)
    assert named(pair.exchange(), DataReceived) == []
    pair.connection.outbound.hold(False)
    assert named(pair.exchange(), DataReceived)[0].data == b"later"


def test_a_body_that_is_consumed_may_be_of_any_size() -> None:
    pair = Pair(Limits(stream_window=65_535, connection_window=65_535))
    number = pair.open(ended=False, body=b"")
    sent = 0
    while sent < 1_000_000:
        pair.exchange()
        room = min(pair.client.local_flow_control_window(number), 16_384)
        assert room > 0, "the window was not given back"
        pair.client.send_data(number, b"x" * room)
        sent += room
    pair.exchange()
    assert len(pair.receivers[0].body) == sent


def test_a_body_that_is_not_consumed_stays_within_the_streams_window() -> None:
    pair = Pair(Limits(stream_window=65_535))
    number = pair.open(ended=False, body=b"")
    pair.exchange()
    pair.receivers[0].reads = False
    while (room := min(pair.client.local_flow_control_window(number), 16_384)) > 0:
        pair.client.send_data(number, b"x" * room)
        pair.exchange()
    assert len(pair.receivers[0].body) == 65_535
    other = pair.open(b"another stream goes on")
    pair.exchange()
    assert pair.receivers[1].stream.id == other
    assert pair.receivers[1].ended


@pytest.mark.parametrize("length", ["4", "6", "x", "-1"])
def test_a_body_of_another_length_than_declared_is_an_error_of_its_stream(length: str) -> None:
    pair = Pair()
    pair.client.config.validate_outbound_headers = False
    pair.open(b"12345", content_length=length)
    (reset,) = named(pair.exchange(), StreamReset)
    assert reset.error_code == PROTOCOL_ERROR
    assert not pair.connection.closed


def test_a_smaller_header_table_of_the_client_is_acknowledged_in_the_next_headers() -> None:
    pair = Pair()
    pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    assert named(pair.exchange(), RemoteSettingsChanged) == []
    pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, b"x", TAIL)
    assert named(pair.exchange(), ResponseReceived)


def test_draining_refuses_new_streams_and_serves_the_open_ones() -> None:
    pair = Pair()
    pair.open(b"x")
    pair.exchange()
    pair.connection.drain()
    out = pair.connection.outbound.take()
    pair.receivers[0].stream.complete(HEAD, b"still", TAIL)
    # (hyper-h2 takes no more frames after GOAWAY: only what was written is looked at.)
    assert out[3] == 7
    assert b"still" in pair.connection.outbound.take()
    second = pair.open(b"x")
    pair.connection.receive(pair.client.data_to_send(), 0.0)
    assert len(pair.receivers) == 1
    assert second not in pair.connection.streams


def test_a_lost_connection_aborts_every_stream() -> None:
    pair = Pair()
    pair.open(b"x", ended=False)
    pair.open(b"y", ended=False)
    pair.exchange()
    pair.connection.lost()
    assert all(receiver.over for receiver in pair.receivers)
    assert pair.connection.streams == {}


def test_what_a_reset_stream_had_queued_waits_no_more() -> None:
    pair = Pair()
    number = pair.open(b"")
    pair.exchange()
    pair.receivers[0].stream.complete(HEAD, b"x" * 100_000, TAIL)
    pair.exchange()
    assert pair.connection.outbound.queued > 0
    pair.client.reset_stream(number)
    pair.exchange()
    assert pair.connection.outbound.queued == 0
    assert pair.receivers[0].stream.queued == 0
