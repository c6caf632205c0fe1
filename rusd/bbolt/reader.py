"""Pages to buckets and items.

Every number of the file is checked against the page, the file and the key before it when it is
used, so that a damaged file ends with a BboltError. A page refers to pages below it alone where the
tree is sound; a way that is longer than any sound tree is deep goes in a circle.
"""

import struct
from collections.abc import Iterator
from operator import add
from typing import Final, NamedTuple

from rusd.bbolt import layout
from rusd.bbolt.errors import BboltError
from rusd.bbolt.layout import BRANCH, ELEMENT_SIZE, HEADER, IS_BUCKET, LEAF, Meta

#: A branch page has two children, so this many levels would hold 2^64 pages.
MAX_DEPTH: Final = 64

Data = bytes | memoryview

_KINDS: Final = (0, IS_BUCKET)
# The constructor of a NamedTuple is Python code and takes twice as long.
_tuple: Final = tuple.__new__


class Page(NamedTuple):
    """One page with all that belongs to it."""

    number: int
    flags: int
    #: Number of its elements.
    elements: int
    #: Further pages that belong to it.
    overflow: int
    data: memoryview

    @property
    def name(self) -> str:
        """What an error calls it."""
        return f"page {self.number}" if self.number else "inline page"


class Item(NamedTuple):
    """One element of a leaf page."""

    key: bytes
    value: bytes
    is_bucket: bool


class Database:
    """A whole file. It must not change as long as this reads it."""

    def __init__(self, data: Data) -> None:
        """Raises BboltError if neither meta page is valid, or the file is shorter than they say.

        `data`: the file, also mapped into memory.
        """
        self._data = memoryview(data)
        self.meta = self._newest_meta()
        if self.meta.pages * self.meta.page_size > len(self._data):
            raise BboltError(
                f"the file has {len(self._data)} bytes of {self.meta.pages * self.meta.page_size}"
            )
        #: Pages that were read, each as often as it was: for those who show progress.
        self.pages_read = 0
        #: The bucket of the buckets.
        self.root = Bucket(self, b"", self.meta.root, None)

    def _newest_meta(self) -> Meta:
        """Return the valid meta page with the highest transaction."""
        found: list[Meta] = []
        error = BboltError("the file is empty")
        # (The second page lies where the size of the first says, or may say if that is damaged.)
        sizes: list[int] = []
        try:
            found.append(layout.decode_meta(self._data))
            sizes = [found[0].page_size]
        except BboltError as first:
            error, sizes = first, list(layout.PAGE_SIZES)
        for size in sizes:
            try:
                second = layout.decode_meta(self._data[size:])
            except BboltError:
                continue
            if second.page_size == size:
                found.append(second)
        if not found:
            raise error
        return max(found, key=lambda meta: meta.transaction)

    def buckets(self) -> Iterator[tuple[bytes, "Bucket"]]:
        """Yield name and bucket, in the order of the names. Raises BboltError."""
        return self.root.buckets()

    def bucket(self, name: bytes) -> "Bucket | None":
        """Return the bucket of this name. Raises BboltError."""
        return self.root.bucket(name)

    def header(self, number: int) -> tuple[int, int]:
        """Return number and kind that a page, of those that exist, says it has."""
        said, flags, _, _ = HEADER.unpack_from(self._data, number * self.meta.page_size)
        return said, flags

    def page(self, number: int) -> Page:
        """Return a page. Raises BboltError if it is none of a tree, or reaches out of the file."""
        meta = self.meta
        if not 2 <= number < meta.pages:
            raise BboltError(f"page {number}: the file has {meta.pages} pages")
        start = number * meta.page_size
        said, flags, count, overflow = HEADER.unpack_from(self._data, start)
        if said != number:
            raise BboltError(f"page {number}: it says it is page {said}")
        if number + overflow >= meta.pages:
            raise BboltError(f"page {number}: {overflow} more pages, out of the file")
        self.pages_read += overflow + 1
        end = start + (overflow + 1) * meta.page_size
        return Page(number, flags, count, overflow, self._data[start:end])


class Bucket:
    """Items in the order of their keys."""

    def __init__(self, database: Database, name: bytes, root: int, inline: Page | None) -> None:
        self._database = database
        self.name = name
        #: Its topmost page; 0 if it lies within its parent's.
        self.root = root
        self._inline = inline

    def top(self) -> Page:
        """Return the topmost page. Raises BboltError."""
        return self._database.page(self.root) if self._inline is None else self._inline

    def items(self) -> Iterator[Item]:
        """Yield all items. Raises BboltError where the file is damaged, also between two items."""
        last = b""
        for page in self.leaves():
            for item in leaf_items(page):
                key = item[0]
                if key <= last:
                    raise BboltError(f"bucket {self.name!r}: key {key!r} does not follow {last!r}")
                last = key
                yield item

    def leaves(self) -> Iterator[Page]:
        """Yield all leaf pages, in the order of their keys.

        Raises BboltError, also for a page that is met twice: pages with several parents, empty ones
        above all, could take more time than any file of this size.
        """
        if self._inline is not None:
            return iter((self._inline,))
        return self._below(self.root, 0, bytearray(self._database.meta.pages))

    def _below(self, number: int, depth: int, met: bytearray) -> Iterator[Page]:
        page = self._database.page(number)
        if met[number]:
            raise BboltError(f"{page.name}: two pages refer to it")
        met[number] = 1
        if page.flags == LEAF:
            yield page
            return
        if depth >= MAX_DEPTH:
            raise BboltError(f"{page.name}: the tree is too deep")
        for _, child in branch_entries(page):
            yield from self._below(child, depth + 1, met)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none or it is a bucket. Raises BboltError."""
        item = self._find(key)
        return item.value if item is not None and not item.is_bucket else None

    def buckets(self) -> Iterator[tuple[bytes, "Bucket"]]:
        """Yield name and bucket of the nested ones. Raises BboltError."""
        for item in self.items():
            if item.is_bucket:
                yield item.key, self.nested(item)

    def bucket(self, name: bytes) -> "Bucket | None":
        """Return the nested bucket of this name. Raises BboltError."""
        item = self._find(name)
        return self.nested(item) if item is not None and item.is_bucket else None

    def _find(self, key: bytes) -> Item | None:
        page = self.top()
        for _ in range(MAX_DEPTH):
            if page.flags == LEAF:
                return next((item for item in leaf_items(page) if item.key == key), None)
            children = branch_entries(page)
            child = children[0][1]
            for first, number in children:
                if first > key:
                    break
                child = number
            page = self._database.page(child)
        raise BboltError(f"{page.name}: it refers to itself")

    def nested(self, item: Item) -> "Bucket":
        """Return the bucket that is the value of an item. Raises BboltError."""
        if len(item.value) < layout.BUCKET.size:
            raise BboltError(f"bucket {item.key!r}: its entry has {len(item.value)} bytes")
        root, _ = layout.BUCKET.unpack_from(item.value)
        if root:
            return Bucket(self._database, item.key, root, None)
        data = memoryview(item.value)[layout.BUCKET.size :]
        if len(data) < HEADER.size:
            raise BboltError(f"bucket {item.key!r}: its inline page has {len(data)} bytes")
        _, flags, count, _ = HEADER.unpack_from(data)
        if flags != LEAF:
            raise BboltError(f"bucket {item.key!r}: its inline page is no leaf")
        return Bucket(self._database, item.key, 0, Page(0, flags, count, 0, data))


def branch_entries(page: Page) -> list[tuple[bytes, int]]:
    """Return first key and number of every child. Raises BboltError if it is no branch page."""
    if page.flags != BRANCH:
        raise BboltError(f"{page.name}: of kind {page.flags:#x}, not a branch or leaf")
    _elements_fit(page)
    if not page.elements:
        raise BboltError(f"{page.name}: a branch without children")
    end = HEADER.size + page.elements * ELEMENT_SIZE
    elements = list(layout.BRANCH_ELEMENT.iter_unpack(page.data[HEADER.size : end]))
    _parts_fit(page, sum(size for _, size, _ in elements))
    found = []
    for start, (position, size, child) in zip(
        range(HEADER.size, end, ELEMENT_SIZE), elements, strict=True
    ):
        found.append((_part(page, start + position, size), child))
    if wrong := layout.out_of_order([key for key, _ in found]):
        before, key = wrong
        raise BboltError(f"{page.name}: key {key!r} does not follow {before!r}")
    return found


def leaf_items(page: Page) -> list[Item]:
    """Return the items of a leaf page. Raises BboltError."""
    _elements_fit(page)
    count, data = page.elements, bytes(page.data)
    end, size = HEADER.size + count * ELEMENT_SIZE, len(data)
    fields = struct.unpack_from(f"<{4 * count}I", data, HEADER.size)
    _parts_fit(page, sum(fields[2::4]) + sum(fields[3::4]))
    found = []
    # (All of a page at once: this is most of the time that a large file takes.)
    for start, kind, position, key_size, value_size in zip(
        range(HEADER.size, end, ELEMENT_SIZE),
        *(fields[field::4] for field in range(4)),
        strict=True,
    ):
        if kind not in _KINDS:
            raise BboltError(f"{page.name}: an element of kind {kind:#x}")
        key = start + position
        value = key + key_size
        after = value + value_size
        if after > size:
            raise BboltError(f"{page.name}: an element reaches out of the page")
        found.append(_tuple(Item, (data[key:value], data[value:after], kind == IS_BUCKET)))
    return found


def leaf_keys(page: Page) -> list[bytes]:
    """Return the keys of a leaf page, without reading its values. Raises BboltError."""
    _elements_fit(page)
    count, data = page.elements, bytes(page.data)
    end = HEADER.size + count * ELEMENT_SIZE
    fields = struct.unpack_from(f"<{4 * count}I", data, HEADER.size)
    # (By calls for all of a page, as in `leaf_items`.)
    starts = list(map(add, fields[1::4], range(HEADER.size, end, ELEMENT_SIZE)))
    ends = list(map(add, starts, fields[2::4]))
    if max(ends, default=0) > len(data):
        raise BboltError(f"{page.name}: an element reaches out of the page")
    return list(map(data.__getitem__, map(slice, starts, ends)))


def leaf_key(page: Page, index: int) -> bytes:
    """Return one key of a leaf page. Raises BboltError."""
    _elements_fit(page)
    start = HEADER.size + index * ELEMENT_SIZE
    _, position, size, _ = layout.LEAF_ELEMENT.unpack_from(page.data, start)
    return _part(page, start + position, size)


def _elements_fit(page: Page) -> None:
    if HEADER.size + page.elements * ELEMENT_SIZE > len(page.data):
        raise BboltError(f"{page.name}: {page.elements} elements, out of the page")


def _parts_fit(page: Page, size: int) -> None:
    """Raise BboltError if keys and values of `size` bytes in all cannot lie beside each other: a
    page whose elements share them would take many times its size.
    """
    if size > len(page.data):
        raise BboltError(f"{page.name}: elements overlap")


def _part(page: Page, start: int, size: int) -> bytes:
    if start + size > len(page.data):
        raise BboltError(f"{page.name}: an element reaches out of the page")
    return bytes(page.data[start : start + size])
