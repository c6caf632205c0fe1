"""The space quota (--quota-backend-bytes): what does not fit is refused and raises NOSPACE.

Asked before a request is validated, as in etcd. The alarm, once replicated, makes every member
refuse growth until somebody makes room and disarms it; the quota is only what raises it. A disk
that is nearly full (`rusd/maintenance/disk_space.py`) refuses growth as long as it is.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from rusd.base.logs import get_logger
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import NO_SPACE
from rusd.state.command import Kind, encode

log = get_logger(__name__)

#: 2 GiB, for a flag of 0.
DEFAULT_QUOTA = 2 * 1024**3
#: Seconds for which a measured size may serve.
MEASURE_INTERVAL = 0.1


class Proposer(Protocol):
    """What the quota needs of Raft."""

    @property
    def member_id(self) -> int: ...
    def propose(self, payload: bytes) -> Pending[Any]: ...


class Quota:
    """How much may still be written."""

    def __init__(
        self,
        limit: int,
        size: Callable[[], int],
        node: Proposer,
        clock: Callable[[], float] = time.monotonic,
        scarce: Callable[[float], bool] = lambda now: False,
    ) -> None:
        """`limit`: bytes; 0 is the default, negative is none. `size`: bytes allocated now, by
        etcd's measure.
        `scarce`: whether the disk is nearly full, at a time of `clock`."""
        self._limit = limit or DEFAULT_QUOTA
        self._size = size
        self._node = node
        self._clock = clock
        self._scarce = scarce
        self._measured_at = float("-inf")
        self._room = 0

    def refuse(self, cost: int) -> Pending[bytes] | None:
        """None if `cost` bytes fit; else the answer: it fails with NO_SPACE (once the alarm is
        raised, so that the client finds it when it looks). On a disk that is nearly full NO_SPACE
        is raised, without an alarm."""
        if cost <= 0:
            return None
        now = self._clock()
        if self._scarce(now):
            raise NO_SPACE
        if self._limit < 0:
            return None
        self._room -= cost
        if self._room <= 0 or now - self._measured_at > MEASURE_INTERVAL:
            self._measured_at = now
            self._room = self._limit - self._size() - cost
        if self._room > 0:
            return None
        log.warning("exceeded backend quota", extra={"fields": {"quota": self._limit}})
        answer: Pending[bytes] = Pending()
        self._raise_alarm().add_done_callback(partial(_answer, answer))
        return answer

    def _raise_alarm(self) -> Pending[Any]:
        request = rpc.AlarmRequest(
            action=rpc.AlarmRequest.ACTIVATE, memberID=self._node.member_id, alarm=rpc.NOSPACE
        )
        return self._node.propose(encode(Kind.ALARM, request.SerializeToString()))


def _answer(answer: Pending[bytes], alarm: Pending[Any]) -> None:
    if not alarm.cancelled() and (failure := alarm.exception()) is not None:
        log.warning("failed to raise alarm", extra={"fields": {"error": str(failure)}})
    if not answer.done():
        answer.set_exception(NO_SPACE)
