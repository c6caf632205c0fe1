"""Page headers, meta pages and elements as bytes (all numbers are little endian).

    page            header | elements | keys and values; `overflow` more pages may belong to it
    header          id u64, flags u16, count u16, overflow u32
    meta            magic u32, version u32, page size u32, flags u32, root bucket, free list page
                    u64, number of pages u64, transaction u64, FNV-1a of all that u64
    bucket          root page u64, sequence u64; root page 0: a page follows inline
    branch element  position u32, key size u32, child page u64
    leaf element    flags u32 (1: a bucket), position u32, key size u32, value size u32

A position counts from the start of its own element.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from operator import ge, sub
from typing import Final, NamedTuple

from rusd.bbolt.errors import BboltError

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2

#: Kinds of pages.
BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREE_LIST: Final = 0x10
#: Flag of a leaf element whose value is a bucket.
IS_BUCKET: Final = 1
#: In place of the free list's page: it was not written.
NO_FREE_LIST: Final = (1 << 64) - 1
#: A count of this much stands for one that the page's first eight bytes give (free list).
LONG_COUNT: Final = 0xFFFF

#: bbolt accepts what its `os.Getpagesize` can be; larger ones do not occur.
PAGE_SIZES: Final = tuple(1 << bits for bits in range(10, 17))

HEADER: Final = struct.Struct("<QHHI")
META_BODY: Final = struct.Struct("<IIIIQQQQQ")
CHECKSUM: Final = struct.Struct("<Q")
BUCKET: Final = struct.Struct("<QQ")
BRANCH_ELEMENT: Final = struct.Struct("<IIQ")
LEAF_ELEMENT: Final = struct.Struct("<IIII")
#: Both kinds of elements have this size, bytes.
ELEMENT_SIZE: Final = 16
META_SIZE: Final = HEADER.size + META_BODY.size + CHECKSUM.size


class Meta(NamedTuple):
    """What a meta page says."""

    page_size: int
    #: First page of the bucket that holds the buckets.
    root: int
    sequence: int
    free_list: int
    #: Pages of the file; every page number is below.
    pages: int
    transaction: int


def checksum(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def encode_meta(page: int, meta: Meta) -> bytes:
    """Return the whole meta page `page` (0 or 1)."""
    body = META_BODY.pack(
        MAGIC,
        VERSION,
        meta.page_size,
        0,
        meta.root,
        meta.sequence,
        meta.free_list,
        meta.pages,
        meta.transaction,
    )
    data = HEADER.pack(page, META, 0, 0) + body + CHECKSUM.pack(checksum(body))
    return data.ljust(meta.page_size, b"\0")


def decode_meta(data: memoryview) -> Meta:
    """Return what a meta page says. `data` starts with it. Raises BboltError."""
    if len(data) < META_SIZE:
        raise BboltError("meta page: the file ends in it")
    _, flags, _, _ = HEADER.unpack_from(data)
    body = data[HEADER.size : HEADER.size + META_BODY.size]
    magic, version, page_size, _, root, sequence, free_list, pages, transaction = META_BODY.unpack(
        body
    )
    (expected,) = CHECKSUM.unpack_from(data, HEADER.size + META_BODY.size)
    if not flags & META:
        raise BboltError("meta page: it is no meta page")
    if magic != MAGIC:
        raise BboltError("meta page: this is no bbolt file")
    if version != VERSION:
        raise BboltError(f"meta page: version {version}, not {VERSION}")
    if checksum(bytes(body)) != expected:
        raise BboltError("meta page: checksum mismatch")
    if page_size not in PAGE_SIZES:
        raise BboltError(f"meta page: pages of {page_size} bytes")
    return Meta(page_size, root, sequence, free_list, pages, transaction)


class BucketValue(bytes):
    """The value that refers to a bucket from within its parent."""

    __slots__ = ()


def has_bucket(data: Sequence[bytes]) -> bool:
    """Return whether a bucket is among these items (as in `encode_leaf`)."""
    return BucketValue in map(type, data[1::2])


def out_of_order(keys: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the first key that is not below the one behind it, with that one; None in order."""
    # (No code of Python runs for each key, unless there is such a one.)
    if any(map(ge, keys, islice(keys, 1, None))):
        return next(pair for pair in pairwise(keys) if pair[0] >= pair[1])
    return None


def encode_leaf(
    number: int, data: Sequence[bytes], sizes: Sequence[int] | None = None, page_size: int = 0
) -> bytes:
    """Return a leaf page: as `pad` returns it if `page_size` is given (without another copy of it),
    else without its padding, and with the count of its pages left at one.

    `data`: key and value of every item, one after the other; `sizes`: the length of each, if they
    are known. A value of the type `BucketValue` makes its item a nested bucket.
    """
    sizes = list(map(len, data)) if sizes is None else sizes
    count = len(data) // 2
    # (No code of Python runs for each item: this is most of the time that a large file takes.)
    fields = array("I", sizes)
    behind = list(accumulate(sizes, initial=ELEMENT_SIZE * count))
    before = range(0, ELEMENT_SIZE * count, ELEMENT_SIZE)
    elements = array("I", bytes(ELEMENT_SIZE * count))
    elements[1::4] = array("I", list(map(sub, behind[:-1:2], before)))
    elements[2::4] = fields[::2]
    elements[3::4] = fields[1::2]
    if has_bucket(data):
        flags = [IS_BUCKET if type(value) is BucketValue else 0 for value in data[1::2]]
        elements[::4] = array("I", flags)
    if sys.byteorder == "big":
        elements.byteswap()
    more, padding = 0, b""
    if page_size:
        size = HEADER.size + behind[-1]
        pages = -(-size // page_size)
        more, padding = pages - 1, bytes(pages * page_size - size)
    head = HEADER.pack(number, LEAF, count, more)
    return b"".join((head, elements, *data, padding))


def encode_branch(number: int, children: Sequence[tuple[bytes, int]]) -> bytes:
    """Return a branch page without its padding. `children`: first key and number of each."""
    position = ELEMENT_SIZE * len(children)
    elements: list[bytes] = []
    for key, child in children:
        elements.append(BRANCH_ELEMENT.pack(position, len(key), child))
        position += len(key) - ELEMENT_SIZE
    head = HEADER.pack(number, BRANCH, len(children), 0)
    return b"".join((head, *elements, *(key for key, _ in children)))


def encode_free_list(number: int, free: Sequence[int] = ()) -> bytes:
    """Return the page that lists the free pages, without its padding."""
    count = len(free)
    numbers = struct.pack(f"<{count}Q", *free)
    if count < LONG_COUNT:
        return HEADER.pack(number, FREE_LIST, count, 0) + numbers
    return HEADER.pack(number, FREE_LIST, LONG_COUNT, 0) + struct.pack("<Q", count) + numbers


def pad(page: bytes, page_size: int, least: int = 1) -> bytes:
    """Return the page filled up to a multiple of `page_size`; its header says how many that is,
    `least` or more.
    """
    pages = max(-(-len(page) // page_size), least)
    page = page.ljust(pages * page_size, b"\0")
    if pages == 1:
        return page
    number, flags, count, _ = HEADER.unpack_from(page)
    return HEADER.pack(number, flags, count, pages - 1) + page[HEADER.size :]
