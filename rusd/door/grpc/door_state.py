"""What all connections of one client port share, and what a call needs of its connection.

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
    """A streaming call, as the door ends it."""

    def finish(self, error: Exception | None = None) -> None:
        """End the stream with this status."""


class Flushable(Protocol):
    """A call with messages for the next write."""

    def flush(self) -> None:
        """Hand them to the HTTP/2 stream."""


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
        """Run `task` after what runs now, in the time of the connection."""

    def gather(self, call: Flushable) -> None:
        """Call `flush` before the next write."""

    def write_early(self, call: Flushable) -> None:
        """Write the messages of `call` now if the socket takes data and the turn has time left,
        else with the next write.
        """

    def exceeds_share(self) -> bool:
        """Return whether the connection must not hold more answers now."""

    def wait_writable(self, *, small: bool = False) -> Pending[None] | None:
        """None if a long answer (`small`: one of one value) may be made now, else what to wait for.

        See `answer_queue.py`.
        """
