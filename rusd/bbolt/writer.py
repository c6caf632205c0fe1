"""Sorted items to the pages of a file, in one pass from its beginning to its end.

The first two pages say where the bucket of the buckets is and how many pages the file has. So the
number of pages is settled beforehand, by a bound of what is to come: that bucket lies at the end,
behind the free list, and pages that were not needed are free.

    meta pages | trees | free pages | free list | bucket of the buckets

Pages are numbered in the order in which they are given, and children come before the page that
refers to them: a tree is built from its leaves. Every level keeps the entries of the page that it
is filling; a full page goes out, and its first key and number to the level above.

A file may go on from an earlier one, in its place: leaves of that stay where they are, below new
branch pages, and what is new lies behind all of it. The other pages of the earlier file are free.

    meta pages | the earlier file's pages | trees | free pages | ...

A leaf has many items, and so several pages: bbolt reads leaves of any size, and divides one when it
writes to it. The work for a leaf is done by calls for all of its items at once, which takes a third
of the time.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from rusd.bbolt import layout
from rusd.bbolt.layout import ELEMENT_SIZE, HEADER, BucketValue, Meta

#: Transaction of the first meta page; the second has that of the one before.
TRANSACTION: Final = 2
#: Pages of the bucket of the buckets.
ROOT_PAGES: Final = 4
#: A bucket of at most this part of a page, without buckets in it, lies within its parent's.
INLINE_PART: Final = 4
#: Bytes after which a leaf is full.
LEAF: Final = 128 << 10
#: Items taken at once: they are in memory together.
_STEP: Final = 32
#: Free pages given at once.
_FREE: Final = 64

Item = tuple[bytes, bytes]
#: First key and number of a page.
Entry = tuple[bytes, int]


class KeptLeaf(NamedTuple):
    """A leaf of the earlier file that stays. It has no nested bucket."""

    #: Its first and its last key.
    first: bytes
    last: bytes
    number: int
    #: With those that belong to it.
    pages: int


class Kept(NamedTuple):
    """Leaves that follow each other, in the order of their keys."""

    leaves: Sequence[KeptLeaf]


#: Of a bucket: what stays, or new items in ascending order of their keys.
Part = Kept | Iterable[Item]


class Writer:
    """Makes one file: `bucket` for each bucket and once among them `head`, then `finish`.

    The caller writes what `head` returns at the beginning of the file, and then what the others
    yield, one after the other.
    """

    def __init__(self, page_size: int = 4096, leaf: int = LEAF, first: int = 2) -> None:
        """`leaf`: bytes after which a leaf is full, at least a page. `first`: the first page that
        is written here; those below, but the meta pages, are of the earlier file.
        """
        if page_size not in layout.PAGE_SIZES or leaf < page_size:
            raise ValueError(f"pages of {page_size} bytes, leaves of {leaf}")
        self.page_size = page_size
        self._leaf = leaf
        #: Pages so far, which is the number of the next.
        self._pages = self._first = first
        #: Pages of the earlier file: 1 if they stay.
        self._kept = bytearray(first)
        self._meta: Meta | None = None

    @property
    def size(self) -> int:
        """Bytes of the file so far, with its meta pages."""
        return self._pages * self.page_size

    @property
    def whole(self) -> int:
        """Bytes of the whole file. ValueError before `head`."""
        if self._meta is None:
            raise ValueError("the file has no head")
        return self._meta.pages * self.page_size

    def most(self, items: int, size: int, longest: int, parts: int = 1, kept: int = 0) -> int:
        """Return how many pages are added for a bucket at most: for so many new items at most,
        whose keys and values have `size` bytes at most, and keys of `longest` bytes.

        `parts`: in which the new items are given. `kept`: leaves that stay.
        """
        page = self.page_size
        size += ELEMENT_SIZE * items
        # (All leaves but the last of each part are full, and end within a page.)
        nodes = size // (self._leaf - HEADER.size) + parts
        pages = (size + nodes * (HEADER.size + page - 1)) // page
        fit = (page - HEADER.size) // (ELEMENT_SIZE + longest)
        children, largest = max(2, fit - 1), max(3, fit)
        nodes += kept
        branch = -(-(HEADER.size + largest * (ELEMENT_SIZE + longest)) // page)
        while nodes > 1:
            nodes = -(-nodes // children)
            pages += branch * nodes
        return pages

    def head(self, more: int) -> bytes:
        """Return the first two pages of the file, to which `bucket` and `go_on` add `more` pages at
        most from here on.
        """
        page, entry = self.page_size, 8
        pages = self._pages + more + ROOT_PAGES
        # (As if all pages were free.)
        listed = -(-(HEADER.size + entry + entry * pages) // (page - entry))
        pages += listed
        root = pages - ROOT_PAGES
        meta = self._meta = Meta(page, root, 0, root - listed, pages, TRANSACTION)
        older = Meta(*meta[:-1], TRANSACTION - 1)
        return layout.encode_meta(0, meta) + layout.encode_meta(1, older)

    def bucket(self, items: Iterable[Item]) -> Generator[bytes, None, BucketValue]:
        """Yield the pages of a bucket; return the value by which its parent refers to it.

        `items`: in ascending order of their keys. A value that `bucket` returned makes its key
        that of a nested bucket. ValueError for a key that is empty or not above the one before it.
        """
        return self._bucket((items,), may_be_inline=True)

    def go_on(self, parts: Iterable[Part]) -> Generator[bytes, None, BucketValue]:
        """As `bucket`, for a bucket of the earlier file. `parts`: in the order of their keys.

        ValueError also for pages that the earlier file has not, or that stay twice.
        """
        return self._bucket(parts, may_be_inline=False)

    def _bucket(
        self, parts: Iterable[Part], *, may_be_inline: bool
    ) -> Generator[bytes, None, BucketValue]:
        root, rest = yield from self._tree(parts, may_be_inline=may_be_inline)
        inline = layout.encode_leaf(0, rest.data, rest.sizes) if root == 0 else b""
        return BucketValue(layout.BUCKET.pack(root, 0) + inline)

    def finish(self, buckets: Mapping[bytes, BucketValue]) -> Iterator[bytes]:
        """Yield the last pages: free ones, the list of what is free, and the bucket of the buckets.

        ValueError before `head`, if more pages were added than it was told, or for more buckets
        than have room.
        """
        if self._meta is None:
            raise ValueError("the file has no head")
        end = self._meta.free_list
        if self._pages > end:
            raise ValueError(f"{self._pages} pages, {end} at most were announced")
        unused = (page for page in range(2, self._first) if not self._kept[page])
        free_list = layout.encode_free_list(end, [*unused, *range(self._pages, end)])
        while self._pages < end:
            free = min(_FREE, end - self._pages)
            self._pages += free
            yield bytes(self.page_size * free)
        root = self._meta.root
        yield self._page(free_list, root - end)
        data = list(chain.from_iterable(sorted(buckets.items())))
        yield self._page(layout.encode_leaf(root, data), ROOT_PAGES)
        if self._pages != self._meta.pages:
            raise ValueError(f"{len(buckets)} buckets take more than {ROOT_PAGES} pages")

    def _tree(
        self, parts: Iterable[Part], *, may_be_inline: bool
    ) -> Generator[bytes, None, tuple[int, "_Leaf"]]:
        """Yield a tree's new pages. Return its topmost page and an empty leaf; or 0 and the only
        leaf of a tree so small that it goes without a page of its own.
        """
        levels: list[_Level] = []
        entry: Entry | None = None
        inline = self.page_size // INLINE_PART if may_be_inline else 0
        for leaf in _all_leaves(parts, self._leaf):
            if entry is not None:
                yield from self._refer(levels, 0, entry)
            if isinstance(leaf, KeptLeaf):
                self._keep(leaf)
                entry = leaf.first, leaf.number
                continue
            if entry is None and leaf.size <= inline and not layout.has_bucket(leaf.data):
                # (bbolt looks for no bucket where its parent has no page of its own.)
                return 0, leaf
            entry = leaf.data[0], self._pages
            page = layout.encode_leaf(self._pages, leaf.data, leaf.sizes, self.page_size)
            self._pages += len(page) // self.page_size
            yield page
        if entry is None:
            return 0, _EMPTY
        if not levels:
            return entry[1], _EMPTY
        yield from self._refer(levels, 0, entry)
        for depth, level in enumerate(levels):  # it may grow meanwhile
            entry = level.children[0][0], self._pages
            yield self._page(layout.encode_branch(self._pages, level.children))
            if depth < len(levels) - 1:
                yield from self._refer(levels, depth + 1, entry)
        return entry[1], _EMPTY

    def _keep(self, leaf: KeptLeaf) -> None:
        end = leaf.number + leaf.pages
        if leaf.number < 2 or end > self._first or any(self._kept[leaf.number : end]):
            raise ValueError(f"the pages {leaf.number} to {end - 1} cannot be kept")
        self._kept[leaf.number : end] = b"\1" * leaf.pages

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

    def _page(self, page: bytes, least: int = 1) -> bytes:
        """Count a page as the next one; return it with its padding, so many pages or more."""
        padded = layout.pad(page, self.page_size, least)
        self._pages += len(padded) // self.page_size
        return padded


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


class _Leaf(NamedTuple):
    """The items of a leaf."""

    #: Key and value of every item, one after the other, and the length of each.
    data: list[bytes]
    sizes: list[int]
    #: Bytes of the page.
    size: int


_EMPTY: Final = _Leaf([], [], HEADER.size)


def _all_leaves(parts: Iterable[Part], full: int) -> Iterator[KeptLeaf | _Leaf]:
    """Yield the leaves of all parts. ValueError for keys that do not ascend."""
    last = b""
    for part in parts:
        if not isinstance(part, Kept):
            for leaf in _leaves(part, full, last):
                yield leaf
                last = leaf.data[-2]
            continue
        for kept in part.leaves:
            if not last < kept.first <= kept.last:
                raise ValueError(f"the key {kept.first!r} does not follow {last!r}")
            yield kept
            last = kept.last


def _leaves(items: Iterable[Item], full: int, last: bytes) -> Iterator[_Leaf]:
    """Yield leaves that are full, and what is left. ValueError for keys that do not ascend from
    `last` on.
    """
    data: list[bytes] = []
    sizes: list[int] = []
    size = HEADER.size
    for part, lengths, total in _parts(items, full):
        data += part
        sizes += lengths
        size += total
        if size >= full:
            last = _checked(last, data[::2])
            yield _Leaf(data, sizes, size)
            data, sizes, size = [], [], HEADER.size
    if data:
        _checked(last, data[::2])
        yield _Leaf(data, sizes, size)


def _parts(items: Iterable[Item], full: int) -> Iterator[tuple[list[bytes], list[int], int]]:
    """Yield keys and values in turn, their lengths, and the bytes of a page that they take: of some
    items together unless these are large.
    """
    rest, count = iter(items), _STEP
    while step := list(islice(rest, count)):
        part = list(chain.from_iterable(step))
        lengths = list(map(len, part))
        total = sum(lengths) + ELEMENT_SIZE * len(step)
        # (Large ones come one at a time: they are in memory together.)
        count = _STEP if total <= full // 4 else 1
        if count > 1:
            yield part, lengths, total
        else:
            for item in step:
                lengths = list(map(len, item))
                yield list(item), lengths, sum(lengths) + ELEMENT_SIZE


def _checked(last: bytes, keys: list[bytes]) -> bytes:
    """Return the last of the keys. ValueError if they do not ascend from `last` on."""
    if wrong := layout.out_of_order([last, *keys]):
        before, key = wrong
        raise ValueError(f"the key {key!r} does not follow {before!r}")
    return keys[-1]
