"""JSON texts: parsed, with the texts of Go's encoding/json for what is malformed; cut into values.

The parser is Python's, in C; `json_deep.py` reads what is nested too deep for it. Objects become
tuples of (name, value), so that names that stand twice can be told, and arrays become lists. Python
reports where and what it expected; the error is that of Go at the same place.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from rusd.door.gateway.json_deep import MAX_DEPTH, TooDeep, parse_deep, skip_space


class JsonError(Exception):
    """Text that is not JSON, or not the JSON of a message; the reason in Go's words."""


class Raw(str):
    """A number as written in the text."""

    __slots__ = ()


class Parsed(NamedTuple):
    """The first value of a text."""

    value: Any
    #: The text, and where the value begins in it.
    source: str
    start: int


EOF = "unexpected EOF"

_HEX = re.compile(r"\\u[0-9a-fA-F]{0,4}")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


def _refuse_constant(name: str) -> NoReturn:
    raise _Constant(name)


class _Constant(Exception):
    """NaN and infinities, which Python's parser accepts."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_float=Raw, parse_constant=_refuse_constant
)
#: Python refuses integers of some thousand digits.
_WITHOUT_INTEGERS = json.JSONDecoder(
    object_pairs_hook=tuple, parse_float=Raw, parse_int=Raw, parse_constant=_refuse_constant
)


#: Objects, arrays and commas of one text. The parser holds the event loop, from any thread: a text
#: of so many takes it 40 ms at most.
MAX_VALUES = 250_000
#: Bytes of a text that cannot hold as many as matter.
_SHORT = 64 << 10


#: Finds where a value ends, in a text that has been parsed.
_SCANNER = json.JSONDecoder(parse_float=Raw, parse_int=Raw, strict=False)


def parse(text: bytes) -> Parsed | None:
    """Parse the first JSON value in `text`; None if there is none. Raises JsonError."""
    if len(text) > _SHORT and sum(map(text.count, (b"{", b"[", b","))) > MAX_VALUES:
        raise JsonError("too many values")
    broken: UnicodeDecodeError | None = None
    try:
        source = text.decode()
    except UnicodeDecodeError as error:
        source, broken = text.decode("utf-8", "surrogateescape"), error
    start = skip_space(source, 0)
    if start == len(source):
        return None
    try:
        value = _decode(source, start)
    except TooDeep as error:
        raise JsonError(str(error)) from None
    except _Constant:
        raise JsonError(_constant_error(source, start)) from None
    except json.JSONDecodeError as error:
        raise JsonError(_syntax_error(source, start, error)) from None
    if broken is not None:
        line, column = position(source, max(source.rfind('"', 0, len(text[: broken.start])), 0))
        raise JsonError(f"proto: syntax error (line {line}:{column}): invalid UTF-8 in string")
    return Parsed(value, source, start)


def _decode(source: str, start: int) -> Any:
    try:
        try:
            return _DECODER.raw_decode(source, start)[0]
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _WITHOUT_INTEGERS.raw_decode(source, start)[0]
    except RecursionError:
        return parse_deep(source, start, _WITHOUT_INTEGERS)[0]


def value_end(source: str, start: int) -> int:
    """Return where the value at `start` ends, in a text that has been parsed."""
    try:
        return _SCANNER.raw_decode(source, start)[1]
    except RecursionError:
        return parse_deep(source, start, _SCANNER)[1]


def position(source: str, at: int) -> tuple[int, int]:
    """Return line and column, from 1."""
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


# Mistakes


def _constant_error(source: str, start: int) -> str:
    for found in _CONSTANT.finditer(source, start):
        if found[0] == "-Infinity":
            return f"invalid character 'I' {_NUMBER}"
        if not found[0].startswith('"'):
            return f"invalid character '{found[0][0]}' {_VALUE}"
    return EOF


_VALUE = "looking for beginning of value"
_NUMBER = "in numeric literal"


def _syntax_error(source: str, start: int, error: json.JSONDecodeError) -> str:
    message, at = error.msg, error.pos
    if message.startswith("Unterminated string"):
        return EOF
    if message.startswith("Invalid control"):
        return _unexpected(source, at, "in string literal")
    if message.startswith("Invalid \\escape"):
        return _unexpected(source, at + 1, "in string escape code")
    if message.startswith("Invalid \\u"):
        found = _HEX.match(source, source.rfind("\\u", start, at + 2))
        end = at if found is None else found.end()
        return _unexpected(source, end, "in \\u hexadecimal character escape")
    if message.startswith("Illegal trailing comma"):
        closing = skip_space(source, at + 1)
        in_object = source[closing : closing + 1] == "}"
        return _unexpected(source, closing, _KEY if in_object else _VALUE)
    if message.startswith("Expecting property"):
        return _unexpected(source, at, _KEY)
    if message.startswith("Expecting ':'"):
        return _unexpected(source, at, "after object key")
    if message.startswith("Expecting ','"):
        return _after_value(source, start, at)
    return _no_value(source, at)


_KEY = "looking for beginning of object key string"


def _no_value(source: str, at: int) -> str:
    for word in ("true", "false", "null"):
        if source[at : at + 1] == word[0]:
            for offset, letter in enumerate(word):
                if source[at + offset : at + offset + 1] != letter:
                    where = f"in literal {word} (expecting '{letter}')"
                    return _unexpected(source, at + offset, where)
    if source[at : at + 1] == "-":
        return _unexpected(source, at + 1, _NUMBER)
    return _unexpected(source, at, _VALUE)


def _after_value(source: str, start: int, at: int) -> str:
    """Return Go's error for text at `at`, after a member or element, that is no comma and no
    closing bracket. `start`: where the outermost value begins.
    """
    if source[at - 1].isdigit() and source[at : at + 1] == ".":
        return _unexpected(source, at + 1, "after decimal point in numeric literal")
    if source[at - 1].isdigit() and source[at : at + 1] in ("e", "E"):
        sign = source[at + 1 : at + 2] in ("+", "-")
        return _unexpected(source, at + (2 if sign else 1), "in exponent of numeric literal")
    opened: list[str] = []
    for found in _STRUCTURE.finditer(source, start, at):
        if found[0] in "{[":
            opened.append(found[0])
        elif found[0] in "}]":
            opened.pop()
    in_object = opened and opened[-1] == "{"
    where = "after object key:value pair" if in_object else "after array element"
    return _unexpected(source, at, where)


def _unexpected(source: str, at: int, where: str) -> str:
    if at >= len(source):
        return EOF
    return f"invalid character {_quoted(source[at])} {where}"


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "'": "\\'"}


def _quoted(character: str) -> str:
    # Go reads bytes: of a longer character it shows the first as if it were one.
    character = chr(character.encode("utf-8", "surrogateescape")[0])
    if character == "\\":
        return "'\\\\'"
    shown = _ESCAPES.get(character)
    if shown is None:
        shown = character if character.isprintable() else f"\\x{ord(character):02x}"
    return f"'{shown}'"


# Several values one after the other


_MARKS = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*(")?', re.DOTALL)


class ValueSplitter:
    """Cuts a stream of JSON objects into their texts; examines each byte once."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of one object."""
        self._limit = limit
        self._buffer = bytearray()
        #: Bytes of the buffer that have been looked at.
        self._seen = 0
        self._depth = 0
        self._in_string = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Return the texts that `chunk` completes. Raises JsonError for a value that is not an
        object, or longer than the limit.
        """
        buffer = self._buffer
        buffer += chunk
        while self._advance():
            text = bytes(buffer[: self._seen])
            del buffer[: self._seen]
            self._seen = 0
            yield text
        if len(buffer) > self._limit:
            raise JsonError("the message is too long")

    def _advance(self) -> bool:
        """Examine more bytes; return whether an object ends there."""
        buffer = self._buffer
        if not self._depth:
            begin = len(buffer) - len(buffer.lstrip())
            if begin == len(buffer):
                buffer.clear()
                return False
            if buffer[begin] != ord("{"):
                raise JsonError(f"invalid character {_quoted(chr(buffer[begin]))} {_VALUE}")
            del buffer[:begin]
        while True:
            if self._in_string:
                end = _STRING_END.match(buffer, self._seen)
                assert end is not None
                if end[1] is None:
                    # (A backslash at the end is looked at again with what follows it.)
                    self._seen = end.end()
                    return False
                self._seen = end.end()
                self._in_string = False
            mark = _MARKS.search(buffer, self._seen)
            if mark is None:
                self._seen = len(buffer)
                return False
            self._seen = mark.end()
            if mark[0] == b'"':
                self._in_string = True
            elif mark[0] in b"{[":
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise JsonError(f"invalid character '{mark[0].decode()}' exceeded max depth")
            else:
                self._depth -= 1
                if not self._depth:
                    return True
