"""Port: the messages of a streaming call, from its service to its client."""

from typing import Protocol

from rusd.base.chunks import Encoded


class ResponseStream(Protocol):
    """A bounded buffer of encoded messages (the door implements it)."""

    def send(self, message: Encoded) -> None:
        """Queue one message. Never blocks; check `ready` first to keep memory bounded."""

    def ready(self) -> bool:
        """False while the buffer is full; the handler's `drained` is called when it is not."""

    def waiting(self) -> int:
        """Bytes in the buffer."""

    def finish(self, error: Exception | None = None) -> None:
        """End the stream after the queued messages: OK, or the status of `error`. Idempotent."""
