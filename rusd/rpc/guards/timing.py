"""Measures calls, for `--metrics=extensive`; without it no method is wrapped.

Stands before all other guards, so that a call is measured from its request to its end, whatever
refuses it: a unary call until its response is made, a stream until it is closed.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from rusd.base.chunks import Chunks, Encoded
from rusd.base.distribution import Distribution
from rusd.rpc.call import Call
from rusd.rpc.methods import BidiStream, Method, Methods, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

#: Upper bounds of the buckets, seconds: the default of Prometheus's clients, as in etcd.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def timed(methods: Methods) -> Methods:
    """Return the table with every method measured into the `seconds` of its counts."""
    return {path: _timed(method) for path, method in methods.items()}


def _timed(method: Method) -> Method:
    seconds = method.counts.seconds
    if seconds is None:
        seconds = method.counts.seconds = Distribution(BUCKETS)
    if isinstance(method, Unary):
        return _unary(method, seconds)
    if isinstance(method, ServerStream):
        start = method.open

        def measured(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
            return _opened(lambda: start(request, call, responses), seconds)

        return replace(method, open=measured)
    begin = method.open
    return BidiStream(
        method.request,
        lambda call, responses: _opened(lambda: begin(call, responses), seconds),
        method.counts,
    )


def _unary(method: Unary, seconds: Distribution) -> Unary:
    run, clock = method.call, time.perf_counter

    def call(request: Any, call: Call) -> Response:
        began = clock()
        try:
            response = run(request, call)
        except Exception:
            seconds.observe(clock() - began)
            raise
        if isinstance(response, bytes | Chunks):
            seconds.observe(clock() - began)
            return response
        pending: Any = response
        if not hasattr(pending, "add_done_callback"):
            return _awaited(response, began, seconds)
        pending.add_done_callback(lambda _: seconds.observe(clock() - began))
        return response

    return replace(method, call=call)


async def _awaited(response: Awaitable[Encoded], began: float, seconds: Distribution) -> Encoded:
    try:
        return await response
    finally:
        seconds.observe(time.perf_counter() - began)


def _opened(start: Callable[[], StreamHandler], seconds: Distribution) -> StreamHandler:
    began = time.perf_counter()
    try:
        return _TimedStream(start(), began, seconds)
    except Exception:
        seconds.observe(time.perf_counter() - began)
        raise


class _TimedStream:
    """The handler of a stream that is measured when it closes."""

    def __init__(self, handler: StreamHandler, began: float, seconds: Distribution) -> None:
        self._handler = handler
        self._began = began
        self._seconds = seconds
        self.received = handler.received
        self.half_closed = handler.half_closed
        self.drained = handler.drained

    def closed(self) -> None:
        self._seconds.observe(time.perf_counter() - self._began)
        self._handler.closed()
