"""Whole files, made by the writer."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping

from rusd.bbolt import Database, Kept, KeptLeaf, Part, Writer
from rusd.bbolt.layout import BucketValue
from rusd.bbolt.reader import leaf_items
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


def go_on(
    file: bytes, name: bytes, items: Items, others: Mapping[bytes, Items], leaf: int = LEAF
) -> bytes:
    """Return the file that goes on from another: leaves of the bucket `name` stay if they have the
    items of now, and all other buckets are written anew.
    """
    database = Database(file)
    bucket = database.bucket(name)
    leaves = [] if bucket is None or not bucket.root else bucket.leaves()
    now = sorted(items.items())
    parts, kept, behind = list[Part](), 0, b""
    for page in leaves:
        its = [(item.key, item.value) for item in leaf_items(page)]
        (first, _), (last, _) = its[0], its[-1]
        if its == [item for item in now if first <= item[0] <= last]:
            if between := [item for item in now if behind <= item[0] < first]:
                parts.append(between)
            parts.append(Kept([KeptLeaf(first, last, page.number, page.overflow + 1)]))
            kept, behind = kept + 1, last + b"\0"
    parts.append([item for item in now if behind <= item[0]])
    new = [item for part in parts if not isinstance(part, Kept) for item in part]
    size = sum(len(key) + len(value) for key, value in new)
    longest = max(map(len, items), default=0)
    writer = Writer(database.meta.page_size, leaf, first=database.meta.pages)
    more = writer.most(len(new), size, longest, len(parts) - kept, kept)
    pages = [writer.head(more + sum(most(writer, its) for its in others.values()))]
    pages.append(file[len(pages[0]) :])
    values = {name: collect(writer.go_on(parts), pages)}
    for other, its in others.items():
        values[other] = collect(writer.bucket(sorted(its.items())), pages)
    pages += writer.finish(values)
    made = b"".join(pages)
    assert len(made) == writer.whole == writer.size
    return made
