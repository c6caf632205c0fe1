"""Protobuf messages as numbered fields.

etcd writes the fields of these messages once each. A message that holds a field twice, or one of
another kind, is damaged: protobuf's rules would merge or skip it.
"""

from typing import Final

_VARINT: Final = 0
_BYTES: Final = 2
_MAX_VARINT: Final = 1 << 64

Value = int | bytes


def read_fields(message: bytes) -> dict[int, Value]:
    """Return the fields by number. Raises ValueError for what etcd does not write."""
    found: dict[int, Value] = {}
    at, end = 0, len(message)
    while at < end:
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or number in found:
            raise ValueError(f"field {number} is none or comes twice")
        value, at = read_varint(message, at)
        if kind == _VARINT:
            found[number] = value
        elif kind == _BYTES:
            if value > end - at:
                raise ValueError(f"field {number} reaches out of its message")
            found[number] = message[at : at + value]
            at += value
        else:
            raise ValueError(f"field {number} is of kind {kind}")
    return found


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and the end of it. Raises ValueError."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut off")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= _MAX_VARINT:
                break
            return number, at
    raise ValueError("a number of more than 64 bits")


def numbers(message: bytes, known: range) -> dict[int, int]:
    """Return the fields of a message that holds numbers alone. Raises ValueError."""
    found: dict[int, int] = {}
    for number, value in read_fields(message).items():
        if number not in known or not isinstance(value, int):
            raise ValueError(f"field {number} does not belong there")
        found[number] = value
    return found
