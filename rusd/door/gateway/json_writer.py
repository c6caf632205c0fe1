"""Messages as JSON, in the form of Go's protojson with proto names, as etcd's gateway writes it.

Fields in the order of their declaration and in snake_case, absent ones left out; 64-bit integers as
strings, bytes in base64, enums by name (by number if the number has none). No white space: Go
inserts some or none, depending on the build.

A message is written by the writers of its fields, built once for each type. A long message is
written in pieces: its fields one at a time, and repeated messages a few at a time, so that neither
the text exists as a whole nor the event loop is held.
"""

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Write = Callable[[Any], str]

#: Characters of one piece, about, and elements of a repeated field in it at most.
PIECE = 64 << 10
ELEMENTS = 250

_INT64 = (
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
)
_INT32 = (
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_SFIXED32,
)


class MessageWriter:
    """Writes messages of one type."""

    def __init__(self) -> None:
        #: By field: its name as JSON with a colon, the writer of its value or of its elements, the
        #: writer of its messages, and whether it is repeated.
        self._fields: dict[FieldDescriptor, tuple[str, Write, MessageWriter | None, bool]] = {}

    def add(self, field: FieldDescriptor, inner: "MessageWriter | None") -> None:
        """See `OfType`."""
        write = _scalar(field) if inner is None else inner.text
        self._fields[field] = f'"{field.name}":', write, inner, field.is_repeated

    def text(self, message: Message) -> str:
        """Return the message as JSON."""
        fields = self._fields
        parts = []
        # (In the order of numbers, which in etcd's messages is that of declaration.)
        for field, value in message.ListFields():
            name, write, _, repeated = fields[field]
            if repeated:
                parts.append(f"{name}[{','.join(map(write, value))}]")
            else:
                parts.append(name + write(value))
        return f"{{{','.join(parts)}}}"

    def pieces(self, message: Message) -> Iterator[str]:
        """Return the JSON of `text` in pieces."""
        yield "{"
        comma = ""
        for field, value in message.ListFields():
            name, write, messages, repeated = self._fields[field]
            yield comma + name
            comma = ","
            if repeated:
                yield "["
                for start in range(0, len(value), ELEMENTS):
                    yield from _elements(write, messages, value[start : start + ELEMENTS], start)
                yield "]"
            elif messages is not None:
                yield from messages.pieces(value)
            else:
                yield write(value)
        yield "}"


def _elements(
    write: Write, messages: MessageWriter | None, values: Any, start: int
) -> Iterator[str]:
    """Write the next elements of a repeated field, from index `start` on."""
    for index, value in enumerate(values, start):
        if index:
            yield ","
        if messages is not None and value.ByteSize() > PIECE:
            yield from messages.pieces(value)
        else:
            yield write(value)


def gathered(pieces: Iterator[str]) -> Iterator[bytes]:
    """Join pieces to larger ones of about `PIECE` characters, and encode them."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= PIECE or len(parts) >= 4 * ELEMENTS:
            yield "".join(parts).encode()
            parts.clear()
            size = 0
    yield "".join(parts).encode()


#: A string as JSON: what JSON does not demand to be escaped stands for itself.
text = json.JSONEncoder(ensure_ascii=False).encode


def escaped(encoded: bytes) -> bytes:
    """Escape JSON as Go's encoding/json does, for use in HTML."""
    for character, escape in _HTML:
        if character in encoded:
            encoded = encoded.replace(character, escape)
    return encoded


_HTML = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def _scalar(field: FieldDescriptor) -> Write:
    kind = field.type
    if kind in _INT64:
        return _quoted
    if kind in _INT32:
        return str
    if kind == FieldDescriptor.TYPE_BYTES:
        return _base64
    if kind == FieldDescriptor.TYPE_STRING:
        return text
    if kind == FieldDescriptor.TYPE_BOOL:
        return _bool
    if kind == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        names = {value.number: f'"{value.name}"' for value in field.enum_type.values}
        return lambda number: names.get(number) or str(number)
    raise TypeError(f"{field.full_name}: etcd has no fields of this type")


def _quoted(number: int) -> str:
    return f'"{number}"'


def _base64(value: bytes) -> str:
    return f'"{b2a_base64(value, newline=False).decode()}"'


def _bool(value: bool) -> str:
    return "true" if value else "false"
