"""Messages that a step sends, separated by whether they wait for the flush (`Ready`)."""

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
        """Forget the messages after the next `Ready` took them."""
        if self.appends:
            self.appends = []
        if self.messages:
            self.messages = []
        if self.after_flush:
            self.after_flush = []

    @property
    def empty(self) -> bool:
        """Whether no message waits for the next `Ready`."""
        return not (self.appends or self.messages or self.after_flush)
