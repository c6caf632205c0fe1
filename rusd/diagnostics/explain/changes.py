"""What a change did to a value, in words and a few lines of difference. No I/O."""

from __future__ import annotations

import difflib
import json
from contextlib import suppress
from typing import AnyStr, Final

from ..text import of_bytes

#: Beyond these a difference is told by its place only: comparing lines takes quadratic time.
_COMPARED_BYTES: Final = 64 << 10
_COMPARED_LINES: Final = 1000
#: Characters of a value or of a line.
_SHOWN: Final = 100


def size(data: bytes) -> str:
    """Return a size in words."""
    return f"{len(data):,} byte{'s' * (len(data) != 1)}"


def summary(before: bytes | None, after: bytes) -> str:
    """Return in words what became of a value; `before` None: there was none, or it is not known."""
    if before is None:
        return size(after)
    if before == after:
        return f"value unchanged, {size(after)}"
    if len(before) == len(after):
        return f"value changed, {size(after)} as before"
    return f"value changed, {len(before):,} → {size(after)}"


def difference(before: bytes | None, after: bytes, lines: int) -> list[str]:
    """Return up to `lines` lines that show the change, or the value if there was none."""
    if lines <= 0 or before == after:
        return []
    if before is None:
        return [_cut(of_bytes(after))] if _is_text(after) and after else []
    if not _is_text(before) or not _is_text(after):
        return [f"binary; the first difference is at byte {_first(before, after):,}"]
    if max(len(before), len(after)) > _COMPARED_BYTES:
        return [f"long; the first difference is at byte {_first(before, after):,}"]
    old, new = _lines(before), _lines(after)
    if max(len(old), len(new)) > _COMPARED_LINES:
        return [f"{len(new):,} lines; the first difference is at byte {_first(before, after):,}"]
    compared = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
    changed = [line for line in compared if line[0] in "+-"]
    # Of one long line the part around the difference is shown.
    start = 0
    if [line[0] for line in changed] == ["-", "+"]:
        start = max(_first(changed[0][1:], changed[1][1:]) - _SHOWN // 2, 0)
    shown = [f"{line[0]} {_part(line[1:], start)}" for line in changed]
    more = len(shown) - lines
    return shown if more <= 0 else [*shown[:lines], f"… {more} more line{'s' * (more > 1)}"]


def _lines(value: bytes) -> list[str]:
    """Return lines to compare; a JSON object has one for each of its fields."""
    text = value.decode(errors="surrogateescape")
    if text.lstrip().startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False)
    return text.splitlines()


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(one.isprintable() or one in "\n\r\t" for one in text[:_COMPARED_BYTES])


def _first(before: AnyStr, after: AnyStr) -> int:
    """Return the place of the first difference."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        if before[:middle] == after[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _part(line: str, start: int) -> str:
    text = of_bytes(line[start:].encode(errors="surrogateescape"))
    return f"…{_cut(text)}" if start else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
