"""Whole files, made by the writer."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping

from rusd.bbolt import Writer
from rusd.bbolt.layout import BucketValue
from rusd.bbolt.writer import LEAF

Items = Mapping[bytes, bytes]


def collect(pages: Generator[bytes, None, BucketValue], into: list[bytes]) -> BucketValue:
    """Put the pages into a list; return what the generator returns."""
    while True:
        try:
            into.append(next(pages))
        except StopIteration as end:
            return end.value


def assemble(writer: Writer, pages: Iterable[bytes], buckets: Mapping[bytes, BucketValue]) -> bytes:
    """Return the whole file."""
    middle = b"".join(pages)
    last = b"".join(writer.finish(buckets))
    return writer.meta() + middle + last


def make(buckets: Mapping[bytes, Items], page_size: int = 4096, leaf: int = LEAF) -> bytes:
    """Return a file with these buckets."""
    writer = Writer(page_size, leaf)
    pages = b"".join(writer.pages((name, sorted(items.items())) for name, items in buckets.items()))
    return writer.meta() + pages


def numbered(count: int, size: int = 20) -> Iterator[tuple[bytes, bytes]]:
    """So many items in the order of their keys."""
    for number in range(count):
        yield b"key%08d" % number, b"%d" % number * (size // len(b"%d" % number) + 1)
