"""Unary calls with different bodies, so many at once on one connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.bench.load import LoadFailed
from tests.bench.wire import DATA, END_STREAM, RST_STREAM, Connection, Frame, Poll

#: Seconds after which a silent server has failed.
PATIENCE = 120.0

#: Called with the number of a call, in the order of sending, and the message of its answer.
Answered = Callable[[int, bytes], None]


class Pipeline:
    """Keeps `at_once` calls under way until the messages are used up."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        messages: Iterator[bytes],
        at_once: int,
        answered: Answered | None = None,
    ) -> None:
        self._connection = connection
        self._path = path
        self._messages = messages
        self._at_once = at_once
        self._answered = answered
        #: Streams whose answer is not complete, and what has come of it.
        self._open: dict[int, bytes] = {}
        self._more = True
        #: Calls answered.
        self.done = 0

    def fill(self) -> None:
        """Queue as many calls as there is room for."""
        while self._more and len(self._open) < self._at_once:
            message = next(self._messages, None)
            if message is None:
                self._more = False
                return
            self._open[self._connection.call(self._path, message)] = b""

    def take(self, frames: list[Frame]) -> None:
        """Count answers. Raises LoadFailed for a refused call."""
        for kind, flags, stream, payload in frames:
            if kind == DATA:
                self._open[stream] += payload
            if flags & END_STREAM or kind == RST_STREAM:
                answer = self._open.pop(stream)
                if kind == RST_STREAM or not answer:
                    raise LoadFailed(f"call {self.done} was refused")
                self.done += 1
                if self._answered is not None:
                    # Streams of clients have odd numbers; 5 bytes of gRPC precede the message.
                    self._answered(stream // 2, answer[5:])
        self.fill()

    @property
    def finished(self) -> bool:
        return not self._more and not self._open


def run(
    endpoint: str,
    path: str,
    messages: Iterator[bytes],
    at_once: int,
    answered: Answered | None = None,
) -> tuple[int, float]:
    """All `messages` over one connection: calls answered and seconds taken."""
    connection = Connection(endpoint)
    poll = Poll([connection])
    try:
        pipeline = Pipeline(connection, path, messages, at_once, answered)
        started = time.monotonic()
        pipeline.fill()
        poll.flush()
        while not pipeline.finished:
            came = False
            for _, frames in poll.frames(PATIENCE):
                came = True
                pipeline.take(frames)
            if not came:
                raise LoadFailed(f"no answer within {PATIENCE:g} s")
        return pipeline.done, time.monotonic() - started
    finally:
        poll.close()
