"""Ordered reading of a family in bounded parts.

A cursor is a RocksDB iterator, and so a snapshot: it sees the database as of its creation. RocksDB
cannot free that state while the cursor exists, so cursors are short-lived.

A RocksDB iterator that meets damage ends as if there were no more keys; only its status differs. So
every read that returns fewer rows than requested checks the status. (rocksdict's own Python
iterators do not, which is why none is used here.)
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from rusd.storage.errors import StorageError

#: Rows read between two checks of their size, at most.
STEP = 64
#: Bytes of rows after which a read returns.
PIECE_BYTES = 1 << 20


class Cursor:
    """The rows of [start, end) that were not read yet. Every method advances it.

    A read may return fewer rows than requested, since it is bounded in bytes too; no rows mean the
    end. Raises StorageError if the data is damaged.
    """

    __slots__ = ("_end", "_ended", "_head", "_iterator", "_next", "_step", "_unreadable")

    def __init__(
        self,
        iterator: Any,
        end: bytes | None,
        unreadable: Callable[[Exception], StorageError],
    ) -> None:
        """`iterator` has `end` as its upper bound; `unreadable` converts RocksDB's errors.

        A seek must precede the first read.
        """
        self._iterator = iterator
        # RocksDB keeps a pointer to these bytes: they must live as long as the iterator.
        self._end = end
        self._unreadable = unreadable
        self._next: Callable[[], None] = iterator.next
        self._ended = False
        # Few rows at first, since they may be large.
        self._step = 8
        #: Key under the iterator after `between`; None if unknown.
        self._head: bytes | None = None

    def seek(self, start: bytes) -> None:
        """Move to the first row at or after `start` and read forward."""
        self._next, self._ended, self._head = self._iterator.next, False, None
        self._iterator.seek(start)

    def seek_to_last(self) -> None:
        """Move to the last row and read backward, without a lower bound."""
        self._next, self._ended = self._iterator.prev, False
        self._iterator.seek_to_last()

    def at_or_before(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Returns the pair of `key` or of its predecessor, or None if absent."""
        self._next, self._ended = self._iterator.prev, False
        self._iterator.seek_for_prev(key)
        found = self.pairs(1)
        return found[0] if found else None

    def between(self, start: bytes, end: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Returns the pairs of [start, end), `count` at most.

        For calls with ascending, disjoint intervals of few pairs: it seeks only across gaps, and
        reads no row that it does not return.
        """
        iterator = self._iterator
        key_here, value, step = iterator.key, iterator.value, iterator.next
        key = self._head
        if key is None or key < start:
            iterator.seek(start)
            key = key_here()
        rows: list[tuple[bytes, bytes]] = []
        while key is not None and key < end and len(rows) < count:
            rows.append((key, value()))
            step()
            key = key_here()
        self._head = key
        if key is None:
            self._check()
        return rows

    def keys(self, count: int) -> list[bytes]:
        """Returns the next keys, `count` at most."""
        return self._take(count, self._read_keys, len)

    def values(self, count: int) -> list[bytes]:
        """Returns the values of the next rows, `count` at most."""
        return self._take(count, self._read_values, len)

    def pairs(self, count: int) -> list[tuple[bytes, bytes]]:
        """Returns the next (key, value) pairs, `count` at most."""
        return self._take(count, self._read_pairs, _pair_size)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """All remaining pairs. Reads ahead few at first, since callers often take few."""
        count = 4
        while pairs := self.pairs(count):
            yield from pairs
            count = min(4 * count, 4 * STEP)

    def _take(
        self, count: int, read: Callable[[int], list[Any]], size: Callable[[Any], int]
    ) -> list[Any]:
        rows: list[Any] = []
        room = PIECE_BYTES
        self._head = None
        while not self._ended and (left := count - len(rows)) > 0 and room > 0:
            wanted = min(left, self._step)
            part = read(wanted)
            rows += part
            if len(part) < wanted:
                self._check()
            taken = sum(map(size, part))
            room -= taken
            if taken > PIECE_BYTES // 4:
                self._step = max(1, self._step // 4)
            elif wanted == self._step < STEP:
                self._step *= 2
        return rows

    # `iter(f, None)` calls f until it returns None, as the iterator's `key` and `value` do at the
    # end. `step` always returns None, so it can run in the condition of a comprehension.

    def _read_keys(self, count: int) -> list[bytes]:
        step = self._next
        return [key for key in islice(iter(self._iterator.key, None), count) if step() is None]

    def _read_values(self, count: int) -> list[bytes]:
        step = self._next
        return [one for one in islice(iter(self._iterator.value, None), count) if step() is None]

    def _read_pairs(self, count: int) -> list[tuple[bytes, bytes]]:
        step, value = self._next, self._iterator.value
        return [
            (key, found)
            for key in islice(iter(self._iterator.key, None), count)
            if (found := value()) is not None and step() is None
        ]

    def _check(self) -> None:
        self._ended = True
        try:
            self._iterator.status()
        except Exception as error:
            raise self._unreadable(error) from error


def _pair_size(pair: tuple[bytes, bytes]) -> int:
    return len(pair[0]) + len(pair[1])
