"""The two ends of a streaming call, driven by plain callbacks on the event loop.

The door implements `ResponseStream` with a bounded buffer; a service implements `StreamHandler`.
"""

from typing import Any, Protocol

from rusd.base.response_stream import ResponseStream

__all__ = ["ResponseStream", "StreamHandler"]


class StreamHandler(Protocol):
    """Events of one open stream, for the service."""

    def received(self, request: Any) -> None:
        """Handle one decoded message of the client (bidirectional streams only), while the response
        stream is ready.
        """

    def half_closed(self) -> None:
        """The client will send no more messages."""

    def drained(self) -> None:
        """The response stream's buffer fell below its low-water mark."""

    def closed(self) -> None:
        """The stream has finished, was cancelled, or its client disconnected. Called exactly once,
        last.
        """
