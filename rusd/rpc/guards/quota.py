"""The space quota (--quota-backend-bytes): growth above it is refused and raises NOSPACE.

Checked before a request is validated, as in etcd. The quota only raises the alarm; the replicated
alarm makes every member refuse growth until it is disarmed. A disk that is nearly full
(`rusd/maintenance/disk_space.py`) refuses growth without an alarm.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Proposer, Role
from rusd.rpc.call import Call
from rusd.rpc.errors import NO_SPACE
from rusd.rpc.methods import Method, Unary
from rusd.rpc.requirements import Requirements
from rusd.rpc.responses import Response
from rusd.state.command import Kind, encode

log = get_logger(__name__)

#: 2 GiB, for a flag of 0.
DEFAULT_QUOTA = 2 * 1024**3
#: Seconds for which a measured size is used.
MEASURE_INTERVAL = 0.1


class Node(Proposer, Role, Protocol):
    """The part of the Raft node that this room uses."""


class Quota:
    """Admits requests while the bytes they may add fit."""

    def __init__(
        self,
        limit: int,
        size: Callable[[], int],
        node: Node,
        clock: Callable[[], float] = time.monotonic,
        scarce: Callable[[float], bool] = lambda now: False,
    ) -> None:
        """`limit`: bytes; 0 for DEFAULT_QUOTA, negative for no quota.

        `size` returns the bytes allocated, by etcd's measure. `scarce` returns whether the disk is
        nearly full at a time of `clock`.
        """
        self._limit = limit or DEFAULT_QUOTA
        self._size = size
        self._node = node
        self._clock = clock
        self._scarce = scarce
        self._measured_at = float("-inf")
        self._remaining = 0

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """See `Guard`."""
        cost = requirements.cost
        if cost is None:
            return method
        assert isinstance(method, Unary)
        run, refuse = method.call, self.refuse

        def call(request: Any, call: Call) -> Response:
            refusal = refuse(cost(request))
            return run(request, call) if refusal is None else refusal

        return replace(method, call=call)

    def refuse(self, cost: int) -> Pending[bytes] | None:
        """Returns None if `cost` bytes fit; else a response that fails with NO_SPACE once the alarm
        is raised, so that a client that lists alarms then finds it. Raises NO_SPACE, without an
        alarm, if the disk is nearly full.
        """
        if cost <= 0:
            return None
        now = self._clock()
        if self._scarce(now):
            raise NO_SPACE()
        if self._limit < 0:
            return None
        self._remaining -= cost
        if self._remaining <= 0 or now - self._measured_at > MEASURE_INTERVAL:
            self._measured_at = now
            self._remaining = self._limit - self._size() - cost
        if self._remaining > 0:
            return None
        log.warning("exceeded backend quota", extra={"fields": {"quota": self._limit}})
        response: Pending[bytes] = Pending()
        self._raise_alarm().add_done_callback(partial(_refuse_after_alarm, response))
        return response

    def _raise_alarm(self) -> Pending[Any]:
        request = rpc.AlarmRequest(
            action=rpc.AlarmRequest.ACTIVATE, memberID=self._node.member_id, alarm=rpc.NOSPACE
        )
        return self._node.propose(encode(Kind.ALARM, request.SerializeToString()))


def _refuse_after_alarm(response: Pending[bytes], alarm: Pending[Any]) -> None:
    if not alarm.cancelled() and (failure := alarm.exception()) is not None:
        log.warning("failed to raise alarm", extra={"fields": {"error": str(failure)}})
    if not response.done():
        response.set_exception(NO_SPACE())
