"""Event responses: encoded once, told to many watchers.

`Encoder` lives as long as one delivery (a live revision, or one reading of history) and encodes
each event at most twice: with and without the previous value. `Payload` is the events part of a
response; it adds header and watch_id per watcher, and reuses the whole message for watchers of
different streams that happen to have the same id, which is the common case: ids start at 0.
"""

from collections.abc import Sequence

from rusd.watch.watcher import Watcher
from rusd.wire.keyvalue import Event
from rusd.wire.watch_response import event_field, fragments


class Encoder:
    """Memory of the events encoded in one delivery."""

    __slots__ = ("_bare", "_full")

    def __init__(self) -> None:
        self._bare: dict[tuple[int, int], bytes] = {}
        self._full: dict[tuple[int, int], bytes] = {}

    def fields(self, events: Sequence[Event], prev_kv: bool) -> list[bytes]:
        """The encoded `events` fields, one per event."""
        known = self._full if prev_kv else self._bare
        fields: list[bytes] = []
        for event in events:
            place = event.mod_revision, event.sub
            field = known.get(place)
            if field is None:
                field = known[place] = event_field(event, prev_kv)
            fields.append(field)
        return fields


class Payload:
    """The events of one response and the messages made of them."""

    __slots__ = ("_events", "_fields", "_fragment_bytes", "_header", "_messages")

    def __init__(self, header: bytes, fields: list[bytes], fragment_bytes: int) -> None:
        self._header = header
        self._fields = fields
        self._events = b"".join(fields)
        self._fragment_bytes = fragment_bytes
        self._messages: dict[int, bytes] = {}

    def send(self, watcher: Watcher) -> None:
        """Queue the response (or its fragments) for one watcher, which is idle no more."""
        watcher.idle = False
        message = self._messages.get(watcher.watch_id)
        if message is None:
            message = self._header + watcher.tag + self._events
            self._messages[watcher.watch_id] = message
        outlet = watcher.stream.outlet
        if watcher.fragment and len(message) >= self._fragment_bytes and len(self._fields) > 1:
            for part in fragments(self._header, watcher.tag, self._fields, self._fragment_bytes):
                outlet.send(part)
        else:
            outlet.send(message)
