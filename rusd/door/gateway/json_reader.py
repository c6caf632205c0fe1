"""Messages from JSON, by the rules of Go's protojson, with its texts for what is wrong.

Names of fields in snake_case or camelCase, unknown ones skipped, none twice; null for "not set";
64-bit integers as strings or numbers; bytes in base64 of either alphabet, padded or not; enums by
name or number, unknown names skipped; one field of a oneof.

The text is parsed in C, and a message filled from the result by the readers of its fields, built
once for each type. Where in the text a mistake stands is looked for when there is one.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rusd.door.gateway.json_deep import skip_space
from rusd.door.gateway.json_syntax import JsonError, parse, position, value_end

#: Characters of a text in which a mistake is looked for.
SEARCHED = 16 << 10
#: Messages within messages. Only txns within txns can have more, and are refused for the levels
#: that are read (`rusd/proto/nested_txn.py`, which reads as many).
MAX_NESTED = 257

_INTEGER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]*))?")
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)")
#: Digits of the longest 64-bit integer.
_MAX_DIGITS = 20
_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
}
_KINDS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


class _Skip(Exception):
    """The value is ignored: an enum name that the message type does not know."""


class _Mistake(Exception):
    """A value or name that does not match the message type."""

    def __init__(self, reason: str, *, named: bool = False, syntax: bool = False) -> None:
        """`reason`: with {} for the text of the value (`named`: of its name)."""
        super().__init__(reason)
        self.reason = reason
        self.named = named
        self.syntax = syntax
        #: Indices of members and elements, from the outermost value inwards.
        self.path: list[int] = []


class _Field:
    """Reads the values of one field."""

    __slots__ = ("json_name", "name", "oneof", "read", "reader", "repeated", "type")

    def __init__(self, field: FieldDescriptor, reader: "MessageReader | None") -> None:
        self.name = field.name
        self.json_name = field.json_name
        self.repeated = field.is_repeated
        oneof = field.containing_oneof
        self.oneof = None if oneof is None else oneof.full_name
        self.reader = reader
        self.type = field.type
        self.read: Callable[[Any], Any] | None = None if reader is not None else _scalar(field)

    def wrong(self) -> _Mistake:
        return _Mistake(f"invalid value for {_KINDS[self.type]} field {self.json_name}: {{}}")


class MessageReader:
    """Reads messages of one type."""

    def __init__(self, kind: Descriptor) -> None:
        self._class = GetMessageClass(kind)
        #: By both spellings.
        self._fields: dict[str, _Field] = {}

    def add(self, field: FieldDescriptor, inner: "MessageReader | None") -> None:
        """See `OfType`."""
        self._fields[field.name] = self._fields[field.json_name] = _Field(field, inner)

    def read(self, text: bytes) -> Message:
        """Parse the first JSON value in `text` as a message; an empty message if there is none.

        Raises JsonError.
        """
        message = self._class()
        parsed = parse(text)
        if parsed is None:
            return message
        value, source, start = parsed
        try:
            self.fill(message, value, MAX_NESTED)
        except _Mistake as mistake:
            raise JsonError(_described(mistake, source[start:])) from None
        return message

    def fill(self, message: Message, members: Any, depth: int) -> None:
        """Set the fields of `message`."""
        if type(members) is not tuple:
            raise _Mistake("unexpected token {}", syntax=True)
        if not depth:
            return
        fields = self._fields
        seen = set()
        for index, (name, value) in enumerate(members):
            field = fields.get(name)
            if field is None:
                continue
            try:
                if field.name in seen:
                    raise _Mistake("duplicate field {}", named=True)
                seen.add(field.name)
                if value is None:
                    continue
                if field.oneof is not None:
                    if field.oneof in seen:
                        text = f"error parsing {{}}, oneof {field.oneof} is already set"
                        raise _Mistake(text, named=True)
                    seen.add(field.oneof)
                _set(message, field, value, depth)
            except _Skip:
                continue
            except (_Mistake, ValueError, TypeError) as error:
                raise _at(index, field, error) from None


def _set(message: Message, field: _Field, value: Any, depth: int) -> None:
    if field.repeated:
        if type(value) is not list:
            raise _Mistake("unexpected token {}", syntax=True)
        _extend(getattr(message, field.name), field, value, depth)
    elif field.reader is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        field.reader.fill(inner, value, depth - 1)
    elif field.read is not None:
        setattr(message, field.name, field.read(value))


def _extend(elements: Any, field: _Field, values: list[Any], depth: int) -> None:
    for index, value in enumerate(values):
        try:
            if field.reader is not None:
                field.reader.fill(elements.add(), value, depth - 1)
            elif field.read is not None:
                elements.append(field.read(value))
        except _Skip:
            continue
        except (_Mistake, ValueError, TypeError) as error:
            raise _at(index, field, error) from None


def _at(index: int, field: _Field, error: Exception) -> _Mistake:
    """Return the mistake in the value at `index`, or in one of its members."""
    mistake = error if isinstance(error, _Mistake) else field.wrong()
    mistake.path.append(index)
    return mistake


# Values


def _scalar(field: FieldDescriptor) -> Callable[[Any], Any]:
    kind = field.type
    if kind in _RANGES:
        return _integer(*_RANGES[kind])
    if kind == FieldDescriptor.TYPE_BYTES:
        return _bytes
    if kind == FieldDescriptor.TYPE_STRING:
        return _string
    if kind == FieldDescriptor.TYPE_BOOL:
        return _bool
    if kind == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        return _enum({value.name: value.number for value in field.enum_type.values})
    raise TypeError(f"{field.full_name}: etcd has no fields of this type")


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int:
            if not isinstance(value, str):
                raise ValueError
            value = int(value) if _plain(value) else _normalized(value)
        if not low <= value <= high:
            raise ValueError
        number: int = value
        return number

    return read


def _plain(text: str) -> bool:
    return len(text) <= _MAX_DIGITS and _PLAIN.fullmatch(text) is not None


def _normalized(text: str) -> int:
    """Return a whole number that is written with a zero fraction or an exponent as an integer."""
    parts = _INTEGER.fullmatch(text)
    if parts is None:
        raise ValueError
    sign, whole, fraction, exponent = parts.groups()
    fraction = (fraction or "").rstrip("0")
    whole = whole.lstrip("0")
    if not whole and not fraction:
        return 0
    if exponent in ("+", "-") or len(exponent or "") > _MAX_DIGITS:
        raise ValueError
    shift = int(exponent or 0)
    if shift >= 0:
        if len(fraction) > shift or len(whole) + shift > _MAX_DIGITS:
            raise ValueError
        digits = whole + fraction + "0" * (shift - len(fraction))
    else:
        if fraction or len(whole) + shift < 0 or whole[shift:].strip("0"):
            raise ValueError
        digits = whole[:shift]
    if len(digits) > _MAX_DIGITS:
        raise ValueError
    return int(f"{sign}{digits or 0}")


_URL_SAFE = str.maketrans("-_", "+/")


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise ValueError
    if "-" in value or "_" in value:
        if "+" in value or "/" in value:
            raise ValueError
        value = value.translate(_URL_SAFE)
    padded = not len(value) % 4
    if "\n" in value or "\r" in value:
        # (Go's decoder skips them.)
        value = value.replace("\n", "").replace("\r", "")
    if not padded:
        if "=" in value:
            raise ValueError
        value += "=" * (-len(value) % 4)
    try:
        return a2b_base64(value, strict_mode=True) if value else b""
    except Base64Error:
        raise ValueError from None


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _bool(value: Any) -> bool:
    if value is not True and value is not False:
        raise ValueError
    return value


def _enum(numbers: dict[str, int]) -> Callable[[Any], int]:
    number = _integer(*_RANGES[FieldDescriptor.TYPE_INT32])

    def read(value: Any) -> int:
        if type(value) is str:
            if value not in numbers:
                raise _Skip
            return numbers[value]
        return number(value)

    return read


# Mistakes


def _described(mistake: _Mistake, source: str) -> str:
    """Return protojson's text for a mistake in the value at the start of `source`."""
    if len(source) > SEARCHED:
        return f"proto: {mistake.reason.format('…')}"
    name, value = _locate(source, mistake.path[::-1])
    at = name if mistake.named else value
    line, column = position(source, at)
    where = f"syntax error (line {line}:{column})" if mistake.syntax else f"(line {line}:{column})"
    return f"proto: {where}: {mistake.reason.format(_token(source, at))}"


def _locate(source: str, path: list[int]) -> tuple[int, int]:
    """Return the offsets of the name and the value at `path` in the first value of `source`."""
    name = at = 0
    for step in path:
        members = source[at] == "{"
        at = skip_space(source, at + 1)
        for _ in range(step):
            if members:
                at = _after_name(source, at)
            at = skip_space(source, value_end(source, at))
            at = skip_space(source, at + 1)
        name = at
        if members:
            at = _after_name(source, at)
    return name, at


def _after_name(source: str, at: int) -> int:
    colon = skip_space(source, scanstring(source, at + 1, False)[1])
    return skip_space(source, colon + 1)


def _token(source: str, at: int) -> str:
    if source[at] in "{[":
        return source[at]
    return source[at : value_end(source, at)]
