"""Port: where the responses of a watch stream go (the door implements it)."""

from typing import Protocol


class ResponseStream(Protocol):
    """Where a stream's responses go: a bounded buffer."""

    def send(self, message: bytes) -> None:
        """Queue one encoded response. Never blocks."""

    def ready(self) -> bool:
        """False while the buffer is full; `WatchStream.drained` reports its end."""

    def finish(self, error: Exception | None = None) -> None:
        """End the stream after what is queued: with success, or with `error`. Idempotent."""
