"""JSON texts nested deeper than Python's parser recurses, as deep as Go reads them.

Without recursion, and some ten times slower than the parser. Values that contain no others are
read by the parser, and mistakes are raised as its own, so the results are the same.
"""

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

#: Objects and arrays within each other that Go's encoding/json reads.
MAX_DEPTH = 10_000
#: Values of one such text: some 50 ms.
MAX_DEEP = 50_000

_SPACE = re.compile(r"[ \t\n\r]*")
_CLOSING = {"{": "}", "[": "]"}


def skip_space(source: str, at: int) -> int:
    """Return the first position from `at` on that is not white space."""
    space = _SPACE.match(source, at)
    return at if space is None else space.end()


class TooDeep(Exception):
    """A text that is not read: nested deeper than MAX_DEPTH, in Go's words, or too long."""


def parse_deep(source: str, at: int, decoder: json.JSONDecoder) -> tuple[Any, int]:
    """Return the value that begins at `at`, with objects as tuples of (name, value), and its end.

    `decoder` reads the values within. Raises TooDeep, and what `decoder` raises.
    """
    #: The objects and arrays that have not ended: how each began, and its members or elements.
    outer: list[tuple[str, list[Any]]] = []
    #: The names of the last members of the objects among them.
    names: list[str] = []
    for _ in range(MAX_DEEP):
        opening = source[at : at + 1]
        if opening in _CLOSING:
            if len(outer) == MAX_DEPTH:
                raise TooDeep(f"invalid character '{opening}' exceeded max depth")
            outer.append((opening, []))
            at = skip_space(source, at + 1)
            if source[at : at + 1] != _CLOSING[opening]:
                if opening == "{":
                    at = _name(source, at, names)
                continue
            value: Any = _ended(outer)
            at += 1
        else:
            value, at = decoder.raw_decode(source, at)
        # The value has ended, and with it the objects and arrays of which it is the last.
        while outer:
            opening, items = outer[-1]
            items.append((names.pop(), value) if opening == "{" else value)
            at = skip_space(source, at)
            if source[at : at + 1] == ",":
                at = skip_space(source, at + 1)
                if opening == "{":
                    at = _name(source, at, names)
                break
            if source[at : at + 1] != _CLOSING[opening]:
                raise json.JSONDecodeError("Expecting ',' delimiter", source, at)
            value = _ended(outer)
            at += 1
        else:
            return value, at
    raise TooDeep("too many values")


def _ended(outer: list[tuple[str, list[Any]]]) -> Any:
    opening, items = outer.pop()
    return tuple(items) if opening == "{" else items


def _name(source: str, at: int, names: list[str]) -> int:
    """Add the name at `at` to `names`; return where its value begins."""
    if source[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", source, at)
    name, at = scanstring(source, at + 1, True)
    names.append(name)
    at = skip_space(source, at)
    if source[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", source, at)
    return skip_space(source, at + 1)
