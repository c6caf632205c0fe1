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
    """Return the whole file of the pages so far."""
    head = writer.head(0)
    return b"".join([head, *pages, *writer.finish(buckets)])


def make(buckets: Mapping[bytes, Items], page_size: int = 4096, leaf: int = LEAF) -> bytes:
    """Return a file with these buckets, announced as they can be before they are written."""
    writer = Writer(page_size, leaf)
    pages = [writer.head(sum(most(writer, items) for items in buckets.values()))]
    values = {
        name: collect(writer.bucket(sorted(items.items())), pages)
        for name, items in buckets.items()
    }
    pages += writer.finish(values)
    file = b"".join(pages)
    assert len(file) == writer.whole == writer.size
    return file


def most(writer: Writer, items: Items) -> int:
    """Pages of a bucket at most."""
    size = sum(len(key) + len(value) for key, value in items.items())
    return writer.most(len(items), size, max(map(len, items), default=0))


def numbered(count: int, size: int = 20) -> Iterator[tuple[bytes, bytes]]:
    """So many items in the order of their keys."""
    for number in range(count):
        yield b"key%08d" % number, b"%d" % number * (size // len(b"%d" % number) + 1)
