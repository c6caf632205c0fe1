"""State shared by all connections of one client port, and the connection as its calls see it.

    GrpcDoor ── makes ─▶ DoorState ◀── uses ── GrpcConnection ◀── uses, as `CallConnection` ── calls

So calls know neither the class of their connection nor the door, and can be built alone in a test.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rusd.base.pending import Pending
from rusd.door.grpc.deadlines import Deadlines
from rusd.door.memory_budget import MemoryBudget
from rusd.door.ports import DeadlineOwner
from rusd.door.time_budget import TimeBudget
from rusd.rpc.call import Caller
from rusd.rpc.request_log import RequestLog


class OpenStream(Protocol):
    """A streaming call that the door can end."""

    def finish(self, error: Exception | None = None) -> None:
        """End the stream with the status of `error`; OK if None."""


class Flushable(Protocol):
    """A call with messages for the next write."""

    def flush(self) -> None:
        """Pass the gathered messages to the HTTP/2 stream."""


@dataclass(slots=True)
class DoorState:
    """State of one client port."""

    #: Bytes of the largest request message.
    limit: int
    budget: TimeBudget
    memory: MemoryBudget
    deadlines: Deadlines
    #: None: slow calls are not logged.
    request_log: RequestLog | None = None
    #: The streaming calls that have not ended.
    streams: dict[OpenStream, None] = field(default_factory=dict)


class CallConnection(DeadlineOwner, Protocol):
    """A connection, as its calls use it."""

    #: Loop time of the last read, and the client.
    now: float
    caller: Caller

    @property
    def door(self) -> DoorState:
        """State that the connections of the door share."""

    def do(self, task: Callable[[], object]) -> None:
        """Run `task` after the running callback, within the connection's time budget."""

    def gather(self, call: Flushable) -> None:
        """Call `flush` before the next write."""

    def write_early(self, call: Flushable) -> None:
        """Write the messages of `call` now if the socket accepts data and the turn has time left,
        else with the next write.
        """

    def exceeds_share(self) -> bool:
        """Return whether the connection holds its maximum of responses."""

    def wait_writable(self, *, small: bool = False) -> Pending[None] | None:
        """Return None if a long response (`small`: of one value) may be generated now, else a
        pending that resolves when it may.

        See `answer_queue.py`.
        """
