"""etcdserverpb.WatchResponse, joined from parts that many watchers share.

A response is the header field, the watch_id field, flags, and one field for each event, in field
order: only the watch_id differs between the watchers of one range.
Field numbers: header 1, watch_id 2, created 3, canceled 4, compact_revision 5, cancel_reason 6,
fragment 7, events 11. mvccpb.Event: type 1, kv 2, prev_kv 3. Zero values are left out.
"""

from collections.abc import Iterator, Sequence

from rusd.wire.keyvalue import DELETE, Event, varint

#: The watch_id of responses for no watcher, or for all watchers of a stream.
NO_WATCHER = -1

_CREATED = b"\x18\x01"
_CANCELED = b"\x20\x01"
_FRAGMENT = b"\x38\x01"


def watch_id_field(watch_id: int) -> bytes:
    """Encode the watch id; empty for 0, which proto3 omits. Negative: ten bytes, two's
    complement.
    """
    return b"\x10" + varint(watch_id) if watch_id else b""


def event_field(event: Event, prev_kv: bool) -> bytes:
    """Encode one `events` field of a WatchResponse from stored KeyValue bytes."""
    body = b"\x12" + varint(len(event.kv)) + event.kv
    if event.type == DELETE:
        body = b"\x08\x01" + body
    if prev_kv and event.prev is not None:
        body += b"\x1a" + varint(len(event.prev)) + event.prev
    return b"\x5a" + varint(len(body)) + body


def created(header: bytes, watch_id: int) -> bytes:
    """Response to an accepted create request."""
    return header + watch_id_field(watch_id) + _CREATED


def refused(header: bytes, reason: str) -> bytes:
    """Response to a refused create request: created and canceled at once, as etcd's."""
    return header + watch_id_field(NO_WATCHER) + _CREATED + _CANCELED + _reason(reason)


def canceled(header: bytes, watch_id: int, reason: str = "") -> bytes:
    """Response to a cancel request; with a reason, the end of a watcher by the server."""
    return header + watch_id_field(watch_id) + _CANCELED + (_reason(reason) if reason else b"")


def compacted(header: bytes, watch_id: int, compact_revision: int) -> bytes:
    """Last response of a watcher whose next revision was compacted."""
    return header + watch_id_field(watch_id) + _CANCELED + b"\x28" + varint(compact_revision)


def progress(header: bytes, watch_id: int) -> bytes:
    """Encode a progress notification: all events up to the header's revision were sent before."""
    return header + watch_id_field(watch_id)


def fragments(
    header: bytes, watch_id: bytes, event_fields: Sequence[bytes], limit: int
) -> Iterator[bytes]:
    """Splits a response into parts below `limit` bytes, or of a single event.

    Every part but the last has the flag `fragment`. As in etcd, sizes count the flag in all parts.
    """
    base = header + watch_id + _FRAGMENT
    part: list[bytes] = []
    size = len(base)
    for field in event_fields:
        if part and size + len(field) >= limit:
            yield base + b"".join(part)
            part = []
            size = len(base)
        part.append(field)
        size += len(field)
    yield header + watch_id + b"".join(part)


def _reason(text: str) -> bytes:
    encoded = text.encode()
    return b"\x32" + varint(len(encoded)) + encoded
