"""Text of members and keys for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text without control characters, which could change what a terminal shows."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )


def of_bytes(data: bytes) -> str:
    """Return a key or value for a terminal: bytes that are no text as `\\xff`."""
    return printable(data.decode(errors="backslashreplace"))
