"""What a step sends, sorted by whether it must wait for the flush (`Ready`)."""

from rusd.raft.core.ready import SendAfterFlush, SendNow
from rusd.raft.transport.frames import AppendEntries


class Outbox:
    """Messages of the running step, in the order they were made."""

    def __init__(self) -> None:
        self.appends: list[tuple[int, AppendEntries]] = []
        self.messages: list[tuple[int, SendNow]] = []
        self.after_flush: list[tuple[int, SendAfterFlush]] = []

    def send(self, member: int, message: SendNow) -> None:
        """Send at once."""
        self.messages.append((member, message))

    def send_after_flush(self, member: int, message: SendAfterFlush) -> None:
        """Send once everything so far is durable."""
        self.after_flush.append((member, message))

    def clear(self) -> None:
        """Everything was taken."""
        if self.appends:
            self.appends = []
        if self.messages:
            self.messages = []
        if self.after_flush:
            self.after_flush = []

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken by the next `Ready`."""
        return not (self.appends or self.messages or self.after_flush)
