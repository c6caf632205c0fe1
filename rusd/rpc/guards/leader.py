"""Checks for a known leader, and for methods that only the leader serves.

Metadata `hasleader: true` is sent by clients that prefer another member to one without a leader.
Such a call is refused while this member knows no leader. A long-lived stream is ended once the
member has been without a leader for `patience` seconds: three election timeouts in etcd, since
reopening many streams costs more than a short election.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rusd.base.timers import Loop, Timer
from rusd.rpc import errors
from rusd.rpc.call import Call
from rusd.rpc.methods import BidiStream, Method, Unary
from rusd.rpc.requirements import Requirements
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

#: Election timeouts that a stream outlives the leader.
PATIENCE_IN_ELECTIONS = 3


class RequireLeader:
    """Refuses calls with `hasleader` while no leader is known, and ends such streams when it is
    lost.
    """

    def __init__(self, loop: Loop, leader: Callable[[], int], patience: float) -> None:
        """`leader` returns the leader's member id or 0; `patience` is in seconds."""
        self._loop = loop
        self._leader = leader
        self._patience = patience
        self._streams: dict[ResponseStream, None] = {}
        self._timer: Timer | None = None

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """See `Guard`."""
        leader = self._leader
        if isinstance(method, Unary):
            run = method.call

            def call(request: Any, call: Call) -> Response:
                if call.metadata.get("hasleader") == "true" and not leader():
                    raise errors.NO_LEADER()
                return run(request, call)

            return replace(method, call=call)
        if isinstance(method, BidiStream):
            start = method.open
            return replace(
                method,
                open=lambda call, responses: self._open(
                    call, responses, lambda: start(call, responses)
                ),
            )
        start_with = method.open
        return replace(
            method,
            open=lambda request, call, responses: self._open(
                call, responses, lambda: start_with(request, call, responses)
            ),
        )

    def _open(
        self, call: Call, responses: ResponseStream, start: Callable[[], StreamHandler]
    ) -> StreamHandler:
        if call.metadata.get("hasleader") != "true":
            return start()
        if not self._leader():
            raise errors.NO_LEADER()
        handler = start()
        self._streams[responses] = None
        return _LeaderBoundStream(handler, lambda: self._streams.pop(responses, None))

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`."""
        if leader_id == 0 and self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._end_streams)
        elif leader_id != 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_streams(self) -> None:
        self._timer = None
        streams, self._streams = self._streams, {}
        for responses in streams:
            responses.finish(errors.NO_LEADER())


class _LeaderBoundStream:
    """The handler of a stream with `hasleader`; leaves the list of such streams when it closes."""

    def __init__(self, handler: StreamHandler, leave: Callable[[], object]) -> None:
        self._handler = handler
        self._leave = leave
        self.received = handler.received
        self.half_closed = handler.half_closed
        self.drained = handler.drained

    def closed(self) -> None:
        self._leave()
        self._handler.closed()


class LeaderOnly:
    """Refuses methods that only the leader serves with NOT_LEADER on every other member."""

    def __init__(self, is_leader: Callable[[], bool]) -> None:
        self._is_leader = is_leader

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """See `Guard`."""
        if not requirements.leader_only:
            return method
        assert isinstance(method, Unary)
        run = method.call

        def call(request: Any, call: Call) -> Response:
            if not self._is_leader():
                raise errors.NOT_LEADER()
            return run(request, call)

        return replace(method, call=call)
