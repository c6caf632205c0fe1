"""The whole structure of a file, as `bbolt check` looks at it.

- Every page below the mark belongs to one thing: a tree, the free list, or what it lists as free.
- Every page is of a kind that fits its place.
- Keys ascend within a page, and lie between the key of its entry above and the next one's.
"""

import struct

from rusd.bbolt import layout
from rusd.bbolt.errors import BboltError
from rusd.bbolt.layout import FREE_LIST, HEADER, LEAF, LONG_COUNT, META
from rusd.bbolt.reader import (
    MAX_DEPTH,
    Bucket,
    Database,
    Item,
    Page,
    branch_entries,
    leaf_items,
)


def check(database: Database) -> None:
    """Raise BboltError for the first fault found."""
    _Check(database).run()


class _Check:
    def __init__(self, database: Database) -> None:
        self._database = database
        #: Pages that something was found to own.
        self._owned = bytearray(database.meta.pages)
        self._owned[0:2] = b"\1\1"

    def run(self) -> None:
        self._free_list()
        self._bucket(self._database.root, 0)
        self._meta_pages()
        if self._database.meta.free_list != layout.NO_FREE_LIST:
            unowned = self._owned.find(0)
            if unowned >= 0:
                raise BboltError(f"page {unowned}: neither free nor part of anything")

    def _own(self, first: int, pages: int = 1) -> None:
        for number in range(first, first + pages):
            if not 2 <= number < len(self._owned):
                raise BboltError(f"page {number}: the file has {len(self._owned)} pages")
            if self._owned[number]:
                raise BboltError(f"page {number}: it belongs to two things")
            self._owned[number] = 1

    def _meta_pages(self) -> None:
        # (Their checksums do not cover their headers.)
        for number in (0, 1):
            said, flags = self._database.header(number)
            if (said, flags) != (number, META):
                raise BboltError(f"page {number}: it says it is page {said} of kind {flags:#x}")

    def _free_list(self) -> None:
        number = self._database.meta.free_list
        if number == layout.NO_FREE_LIST:
            return
        page = self._database.page(number)
        if page.flags != FREE_LIST:
            raise BboltError(f"{page.name}: of kind {page.flags:#x}, not the free list")
        self._own(number, page.overflow + 1)
        start, count = HEADER.size, page.elements
        if count == LONG_COUNT:
            (count,) = struct.unpack_from("<Q", page.data, start)
            start += 8
        if start + 8 * count > len(page.data):
            raise BboltError(f"{page.name}: {count} free pages, out of the page")
        for free in struct.unpack_from(f"<{count}Q", page.data, start):
            self._own(free)

    def _bucket(self, bucket: Bucket, nested: int) -> None:
        if nested >= MAX_DEPTH:
            raise BboltError(f"bucket {bucket.name!r}: nested too deep")
        for item in self._page(bucket.top(), b"", None, 0):
            if not bucket.root:
                raise BboltError(f"inline page: it holds a bucket, {item.key!r}")
            self._bucket(bucket.nested(item), nested + 1)

    def _page(self, page: Page, first: bytes, end: bytes | None, depth: int) -> list[Item]:
        """Check a page whose keys must lie in [first, end), and what is below it; return the items
        that are buckets.
        """
        if page.number:
            self._own(page.number, page.overflow + 1)
        if page.flags == LEAF:
            items = leaf_items(page)
            keys = [b"", *(item[0] for item in items)]
            # (By calls for all of a page: this is most of the time that a large file takes.)
            if wrong := layout.out_of_order(keys):
                before, key = wrong
                raise BboltError(f"{page.name}: key {key!r} does not follow {before!r}")
            for key in (*keys[1:2], *keys[-1:]) if items else ():
                self._within(page, key, first, end)
            return [item for item in items if item[2]]
        if depth >= MAX_DEPTH:
            raise BboltError(f"{page.name}: the tree is too deep")
        entries = branch_entries(page)
        ends = [key for key, _ in entries[1:]] + [end]
        buckets: list[Item] = []
        for (key, child), below in zip(entries, ends, strict=True):
            self._within(page, key, first, end)
            buckets += self._page(self._database.page(child), key, below, depth + 1)
        return buckets

    def _within(self, page: Page, key: bytes, first: bytes, end: bytes | None) -> None:
        if key < first or (end is not None and key >= end):
            raise BboltError(f"{page.name}: key {key!r} is out of the range of its parent")
