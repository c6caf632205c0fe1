"""Messages as JSON, in the form of Go's protojson with proto names, as etcd's gateway writes it.

Fields in the order of their declaration and in snake_case, absent ones left out; 64-bit integers as
strings, bytes in base64, enums by name (by number if the number has none). No white space: Go
inserts some or none, depending on the build.

A message is written by the writers of its fields, built once for each type.
"""

import json
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Write = Callable[[Any], str]

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


class Field(NamedTuple):
    """How a field is written."""

    #: As JSON, with a colon.
    name: str
    #: Writes its value, or one of its values.
    write: Write
    #: Writes its messages; None if it has none.
    messages: "MessageWriter | None"
    repeated: bool
    #: Whether a long value may be written in parts.
    divided: bool


class MessageWriter:
    """Writes messages of one type."""

    def __init__(self, decode: Callable[[bytes], Message]) -> None:
        #: Decodes messages of the type.
        self.decode = decode
        #: Of each field, what `text` needs: its name, its writer and whether it is repeated.
        # (Plain tuples are taken apart faster than named ones.)
        self._fields: dict[FieldDescriptor, tuple[str, Write, bool]] = {}
        #: By number.
        self.numbers: dict[int, Field] = {}

    def add(self, field: FieldDescriptor, inner: "MessageWriter | None") -> None:
        """See `OfType`."""
        name, repeated = f'"{field.name}":', field.is_repeated
        write = _scalar(field) if inner is None else inner.text
        self._fields[field] = name, write, repeated
        divided = inner is not None or field.type == FieldDescriptor.TYPE_BYTES
        self.numbers[field.number] = Field(name, write, inner, repeated, divided)

    def text(self, message: Message) -> str:
        """Return the message as JSON."""
        fields = self._fields
        parts = []
        # (In the order of numbers, which in etcd's messages is that of declaration.)
        for field, value in message.ListFields():
            name, write, repeated = fields[field]
            if repeated:
                parts.append(f"{name}[{','.join(map(write, value))}]")
            else:
                parts.append(name + write(value))
        return f"{{{','.join(parts)}}}"


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
