"""etcdserverpb.WatchResponse, joined from parts that many watchers share.

A response is the header field, the watch_id field, flags, and one field for each event, in field
order: only the watch_id differs between the watchers of one range.
Field numbers: header 1, watch_id 2, created 3, canceled 4, compact_revision 5, cancel_reason 6,
fragment 7, events 11. mvccpb.Event: type 1, kv 2, prev_kv 3. Zero values are left out.
"""

from collections.abc import Iterator, Sequence

from rusd.base.chunks import Chunks, Encoded
from rusd.wire.keyvalue import DELETE, Event, varint

#: The watch_id of responses for no watcher, or for all watchers of a stream.
NO_WATCHER = -1

#: Bytes of a field, on average, above which those of a fragment are not joined.
JOINED_BYTES = 64 << 10

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
    kv = event.kv
    head = b"\x12" + varint(len(kv))
    if event.type == DELETE:
        head = b"\x08\x01" + head
    # (Values may be large: they are copied once.)
    if not prev_kv or event.prev is None:
        return b"\x5a%b%b%b" % (varint(len(head) + len(kv)), head, kv)
    prev = event.prev
    middle = b"\x1a" + varint(len(prev))
    size = len(head) + len(kv) + len(middle) + len(prev)
    return b"".join((b"\x5a", varint(size), head, kv, middle, prev))


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
) -> Iterator[Encoded]:
    """Splits a response into parts below `limit` bytes, or of a single event.

    Every part but the last has the flag `fragment`. As in etcd, sizes count the flag in all parts.
    """
    base = header + watch_id + _FRAGMENT
    part: list[bytes] = []
    size = len(base)
    for field in event_fields:
        if part and size + len(field) >= limit:
            yield _part(base, part, size)
            part = []
            size = len(base)
        part.append(field)
        size += len(field)
    yield _part(header + watch_id, part, size)


def _part(head: bytes, fields: list[bytes], size: int) -> Encoded:
    """Join the fields of a fragment, unless they are large."""
    if size > len(fields) * JOINED_BYTES:
        return Chunks((head, *fields))
    return head + b"".join(fields)


def _reason(text: str) -> bytes:
    encoded = text.encode()
    return b"\x32" + varint(len(encoded)) + encoded
