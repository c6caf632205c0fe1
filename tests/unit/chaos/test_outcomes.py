"""Outcomes of a call: by its response, its error, or without either."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from cluster.chaos.client import Client
from cluster.chaos.connection import Connections, Failure, outcome_of
from cluster.chaos.history import Action, History, Operation, Outcome
from cluster.ports import HOST, Claim
from rusd.proto import rpc_pb2 as rpc

Code = grpc.StatusCode
Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)


@contextmanager
def client_of(answer: Answer | None) -> Iterator[Client]:
    """A client of one member that gives this answer; None: of a member that is down."""
    claim = Claim()
    (port,) = claim.any(1)
    server = grpc.server(
        futures.ThreadPoolExecutor(2), handlers=[_Handler(answer)] if answer else []
    )
    if answer:
        server.add_insecure_port(f"{HOST}:{port}")
        server.start()
    ticks = itertools.count(1)
    try:
        with Connections([f"{HOST}:{port}"]) as connections:
            clock = lambda: float(next(ticks))  # noqa: E731
            yield Client(1, ["m1"], connections, History(), clock, seed=7)
    finally:
        server.stop(None).wait()
        claim.release()


def refuse(code: grpc.StatusCode, text: str) -> Answer:
    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, text)
        raise AssertionError

    return answer


def only(client: Client) -> Operation:
    (operation,) = client.history.operations
    return operation


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (Code.UNAVAILABLE, "etcdserver: request timed out"),
        (Code.UNAVAILABLE, "etcdserver: leader changed"),
        (Code.UNAVAILABLE, "etcdserver: no leader"),
        (Code.UNAVAILABLE, "etcdserver: server stopped"),
        (Code.UNAVAILABLE, "Socket closed"),
        (Code.UNAVAILABLE, "recvmsg:Connection reset by peer"),
        (Code.DEADLINE_EXCEEDED, "context deadline exceeded"),
        (Code.CANCELLED, "context canceled"),
        (Code.UNKNOWN, "raft proposal dropped"),
        (Code.INTERNAL, "stream terminated"),
        (Code.ABORTED, "anything"),
    ],
)
def test_after_these_errors_a_write_may_have_happened(code: grpc.StatusCode, text: str) -> None:
    assert outcome_of(code, text) is Outcome.UNKNOWN
    assert Failure(code, text).outcome(writes=False) is Outcome.FAILED


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (Code.INVALID_ARGUMENT, "etcdserver: key is not provided"),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: ..."),
    ],
)
def test_after_a_refusal_a_write_has_not_happened(code: grpc.StatusCode, text: str) -> None:
    assert outcome_of(code, text) is Outcome.FAILED


def test_a_write_with_an_unknown_fate_never_ends() -> None:
    with client_of(refuse(Code.UNAVAILABLE, "etcdserver: request timed out")) as client:
        client.write("k")
        write = only(client)
    assert (write.outcome, write.completed) == (Outcome.UNKNOWN, None)
    assert write.argument == "1.1"
    assert "request timed out" in write.error


def test_a_member_that_hangs_up_in_the_middle_leaves_the_fate_of_a_write_unknown() -> None:
    heard, over = threading.Event(), threading.Event()

    def hang_up(_: bytes, context: grpc.ServicerContext) -> bytes:
        heard.set()
        over.wait(10)
        return b""

    with client_of(hang_up) as client:
        writing = threading.Thread(target=client.write, args=("k",))
        writing.start()
        assert heard.wait(10)
        client.connections.close()  # as a broken connection: the request is out, no answer comes
        writing.join(10)
        over.set()
        assert only(client).outcome is Outcome.UNKNOWN


def test_silence_leaves_the_fate_of_a_write_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def stay_silent(_: bytes, context: grpc.ServicerContext) -> bytes:
        over.wait(10)
        return b""

    with client_of(stay_silent) as client:
        call = client.connections.call
        monkeypatch.setattr(client.connections, "call", lambda *a: call(*a, timeout=0.2))
        client.write("k")
        over.set()
        assert (only(client).outcome, only(client).completed) == (Outcome.UNKNOWN, None)
        assert "DEADLINE_EXCEEDED" in only(client).error


def test_a_write_to_a_member_that_is_down_has_not_happened() -> None:
    with client_of(None) as client:
        client.write("k")
        assert only(client).outcome is Outcome.FAILED


def test_a_read_without_an_answer_counts_as_failed() -> None:
    with client_of(refuse(Code.UNAVAILABLE, "etcdserver: request timed out")) as client:
        assert client.read("k") is None
        read = only(client)
    assert (read.action, read.outcome, read.result) == (Action.READ, Outcome.FAILED, None)
    assert read.completed is not None


def test_an_answered_write_has_its_times_and_its_revision() -> None:
    answer = rpc.PutResponse()
    answer.header.revision = 5
    with client_of(lambda *_: answer.SerializeToString()) as client:
        client.write("k")
        write = only(client)
    assert (write.outcome, write.revision, write.endpoint) == (Outcome.OK, 5, "m1")
    assert write.completed is not None and write.invoked < write.completed


def test_a_swap_that_lost_was_answered() -> None:
    with client_of(lambda *_: rpc.TxnResponse(succeeded=False).SerializeToString()) as client:
        assert not client.swap("k", "old", "new")
        swap = only(client)
    assert (swap.outcome, swap.succeeded) == (Outcome.OK, False)
    assert (swap.expected, swap.argument) == ("old", "new")


def test_all_parts_of_a_txn_share_its_fate_and_its_number() -> None:
    with client_of(refuse(Code.UNAVAILABLE, "etcdserver: leader changed")) as client:
        client.write_all(["a", "b"])
        one, other = client.history.operations
    assert one.group == other.group != 0
    assert one.outcome is other.outcome is Outcome.UNKNOWN
    assert {one.key, other.key} == {"a", "b"} and one.argument != other.argument


def test_a_lease_whose_grant_was_not_answered_is_not_used() -> None:
    with client_of(refuse(Code.UNAVAILABLE, "etcdserver: request timed out")) as client:
        assert client.grant(3) == 0
        (call,) = client.history.leases
    assert (call.action, call.outcome, call.completed) == ("grant", Outcome.UNKNOWN, None)
    assert call.lease != 0
