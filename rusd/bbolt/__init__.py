"""bbolt: the file format of etcd's database, written and read.

Files:
    layout      page headers, meta pages and elements as bytes
    writer      sorted items to pages, in one pass; or what changed since an earlier file
    reader      pages to buckets and items
    check       the whole structure of a file, as `bbolt check` looks at it
    errors      BboltError

Data passes: `Writer` takes the items of each bucket in key order and gives the pages of a file in
their order. `Database` takes a whole file (bytes, or a mapped file) and gives
its buckets and their items in key order. `check` takes a `Database` and raises what is wrong.

Promises:

- The writer holds one page of each level of the tree: its memory grows with the logarithm of the
  items, and with the size of the largest.
- A damaged file is a BboltError that names the page, never a hang, and no read goes outside of the
  file. The format has a checksum over the meta pages alone: a changed byte in a value is not
  noticed here, which is why etcd's snapshots end with a SHA-256 of all that comes before.

It opens no file, knows no transaction, and knows nothing of etcd.

Source: the file format of bbolt, version 2 (go.etcd.io/bbolt, `internal/common`), little endian.
"""

from rusd.bbolt.check import check
from rusd.bbolt.errors import BboltError
from rusd.bbolt.reader import Bucket, Database, Item
from rusd.bbolt.writer import Kept, KeptLeaf, Part, Writer

__all__ = [
    "BboltError",
    "Bucket",
    "Database",
    "Item",
    "Kept",
    "KeptLeaf",
    "Part",
    "Writer",
    "check",
]
