"""Sorted items to the pages of a file, in one pass.

Pages are numbered in the order in which they are given, and children come before the page that
refers to them: a tree is built from its leaves. Every level keeps the entries of the page that it
is filling; a full page goes out, and its first key and number to the level above.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rusd.bbolt import layout
from rusd.bbolt.layout import ELEMENT_SIZE, HEADER, BucketValue, Meta

#: Transaction of the first meta page; the second has that of the one before.
TRANSACTION: Final = 2
#: A bucket of at most this part of a page, without buckets in it, lies within its parent's.
INLINE_PART: Final = 4

Item = tuple[bytes, bytes]
#: First key and number of a page.
Entry = tuple[bytes, int]


class Writer:
    """Makes one file: `pages` (or `bucket` for each bucket, then `finish`), then `meta`.

    The caller writes what these yield one after the other, from page 2 on, and then `meta()` at
    the beginning of the file.
    """

    def __init__(self, page_size: int = 4096) -> None:
        if page_size not in layout.PAGE_SIZES:
            raise ValueError(f"pages of {page_size} bytes")
        self.page_size = page_size
        #: Pages so far, which is the number of the next.
        self._pages = 2
        self._meta: Meta | None = None

    @property
    def size(self) -> int:
        """Bytes of the file so far, with its meta pages."""
        return self._pages * self.page_size

    def pages(self, buckets: Iterable[tuple[bytes, Iterable[Item]]]) -> Iterator[bytes]:
        """Yield all pages of a file with these buckets, each with its items as in `bucket`."""
        values = {}
        for name, items in buckets:
            values[name] = yield from self.bucket(items)
        yield from self.finish(values)

    def bucket(self, items: Iterable[Item]) -> Generator[bytes, None, BucketValue]:
        """Yield the pages of a bucket; return the value by which its parent refers to it.

        `items`: in ascending order of their keys. A value that `bucket` returned makes its key
        that of a nested bucket. ValueError for a key that is empty or not above the one before it.
        """
        root, rest = yield from self._tree(items)
        inline = layout.encode_leaf(0, rest) if root == 0 else b""
        return BucketValue(layout.BUCKET.pack(root, 0) + inline)

    def finish(self, buckets: Mapping[bytes, BucketValue]) -> Iterator[bytes]:
        """Yield the last pages: the bucket of the buckets, and an empty free list."""
        root, rest = yield from self._tree(sorted(buckets.items()))
        if root == 0:
            root = self._pages
            yield self._page(layout.encode_leaf(root, rest))
        free_list = self._pages
        yield self._page(layout.encode_free_list(free_list))
        self._meta = Meta(self.page_size, root, 0, free_list, self._pages, TRANSACTION)

    def meta(self) -> bytes:
        """Return the first two pages of the file. ValueError before `finish`."""
        if self._meta is None:
            raise ValueError("the file is not finished")
        older = Meta(*self._meta[:-1], TRANSACTION - 1)
        return layout.encode_meta(0, self._meta) + layout.encode_meta(1, older)

    def _tree(self, items: Iterable[Item]) -> Generator[bytes, None, tuple[int, list[bytes]]]:
        """Yield a tree's pages. Return its topmost page and an empty list; or 0 and the items (key,
        value, key, ...) of a tree so small that it goes without a page of its own.
        """
        levels: list[_Level] = []
        data: list[bytes] = []
        size, last = HEADER.size, b""
        for key, value in items:
            if key <= last:
                raise ValueError(f"the key {key!r} does not follow {last!r}")
            last = key
            more = ELEMENT_SIZE + len(key) + len(value)
            if data and size + more > self.page_size:
                entry = data[0], self._pages
                yield self._page(layout.encode_leaf(self._pages, data))
                yield from self._refer(levels, 0, entry)
                data, size = [], HEADER.size
            data += (key, value)
            size += more
        if not levels and size <= self.page_size // INLINE_PART and not _nested(data):
            return 0, data
        entry = data[0], self._pages
        yield self._page(layout.encode_leaf(self._pages, data))
        if not levels:
            return entry[1], []
        yield from self._refer(levels, 0, entry)
        for depth, level in enumerate(levels):  # it may grow meanwhile
            entry = level.children[0][0], self._pages
            yield self._page(layout.encode_branch(self._pages, level.children))
            if depth < len(levels) - 1:
                yield from self._refer(levels, depth + 1, entry)
        return entry[1], []

    def _refer(self, levels: "list[_Level]", depth: int, entry: Entry) -> Iterator[bytes]:
        """Note a page in the level above it; yield the pages that become full."""
        if depth == len(levels):
            levels.append(_Level())
        level = levels[depth]
        if len(level.children) > 2 and level.size_with(entry) > self.page_size:
            # The last one stays: a branch page has two children at least.
            full, stays = level.children[:-1], level.children[-1]
            page = full[0][0], self._pages
            yield self._page(layout.encode_branch(self._pages, full))
            yield from self._refer(levels, depth + 1, page)
            levels[depth] = level = _Level()
            level.add(stays)
        level.add(entry)

    def _page(self, page: bytes) -> bytes:
        """Count a page as the next one; return it with its padding."""
        padded = layout.pad(page, self.page_size)
        self._pages += len(padded) // self.page_size
        return padded


def _nested(data: Sequence[bytes]) -> bool:
    """Return whether a bucket is among these items: bbolt looks for none where its parent has no
    page of its own.
    """
    return any(type(value) is BucketValue for value in data[1::2])


class _Level:
    """The branch page that is being filled at one height of a tree."""

    def __init__(self) -> None:
        self.children: list[Entry] = []
        self._size = HEADER.size

    def size_with(self, entry: Entry) -> int:
        """Bytes of the page with one child more."""
        return self._size + ELEMENT_SIZE + len(entry[0])

    def add(self, entry: Entry) -> None:
        self._size = self.size_with(entry)
        self.children.append(entry)
