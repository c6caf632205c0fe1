"""Event responses, encoded once for many watchers.

`Encoder` lives for one delivery (a published revision, or one reading of history) and encodes each
event at most twice: with and without the previous value. `Payload` is the events part of a
response; it adds header and watch_id for each watcher, and reuses the message for watchers of other
streams with the same watch_id, which is common since ids start at 0.
"""

from collections.abc import Sequence

from rusd.base.chunks import Chunks, Encoded, concatenated, size_of
from rusd.watch.watcher import Watcher
from rusd.wire.keyvalue import Event
from rusd.wire.watch_response import event_field, fragments


class Encoder:
    """Cache of the events encoded in one delivery."""

    __slots__ = ("_with_prev", "_without_prev")

    def __init__(self) -> None:
        self._without_prev: dict[tuple[int, int], bytes] = {}
        self._with_prev: dict[tuple[int, int], bytes] = {}

    def fields(self, events: Sequence[Event], prev_kv: bool) -> list[bytes]:
        """Returns the encoded `events` fields of a WatchResponse, one for each event."""
        known = self._with_prev if prev_kv else self._without_prev
        fields: list[bytes] = []
        for event in events:
            revision = event.mod_revision, event.sub
            field = known.get(revision)
            if field is None:
                field = known[revision] = event_field(event, prev_kv)
            fields.append(field)
        return fields


class Payload:
    """The events of one response, and the messages made of them."""

    __slots__ = ("_events", "_fields", "_fragment_bytes", "_header", "_messages")

    def __init__(
        self,
        header: bytes,
        fields: list[bytes],
        fragment_bytes: int,
        joined: Chunks | None = None,
    ) -> None:
        """`header`: encoded header field; `fragment_bytes`: size from which a message is split;
        `joined`: the fields in longer pieces, if joining them would hold the event loop.
        """
        self._header = header
        self._fields = fields
        self._events: Encoded = b"".join(fields) if joined is None else joined
        self._fragment_bytes = fragment_bytes
        self._messages: dict[int, Encoded] = {}

    def send(self, watcher: Watcher) -> None:
        """Queue the response, or its fragments, for one watcher."""
        watcher.idle = False
        message = self._messages.get(watcher.watch_id)
        if message is None:
            head, events = self._header + watcher.tag, self._events
            message = head + events if isinstance(events, bytes) else concatenated(head, events)
            self._messages[watcher.watch_id] = message
        responses = watcher.stream.responses
        if watcher.fragment and size_of(message) >= self._fragment_bytes and len(self._fields) > 1:
            for part in fragments(self._header, watcher.tag, self._fields, self._fragment_bytes):
                responses.send(part)
        else:
            responses.send(message)
