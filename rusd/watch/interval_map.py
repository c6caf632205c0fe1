"""A map from half-open key intervals to values that answers "which intervals hold this key?".

It is a treap (Seidel & Aragon 1996) ordered by the interval's start and augmented with the
farthest end of each subtree (Cormen et al., "Introduction to Algorithms", interval trees): a
subtree whose farthest end lies at or below the key is skipped whole. Adding and removing cost
O(log n), so that a storm of new watchers does not make the next write pay for a rebuild.
"""

import random
from typing import Generic, TypeVar

V = TypeVar("V")

#: Total order of intervals; an open end (None) is above every other.
_Rank = tuple[bytes, bool, bytes]


def _rank(start: bytes, end: bytes | None) -> _Rank:
    return start, end is None, end or b""


class _Node(Generic[V]):
    __slots__ = ("end", "left", "priority", "rank", "reach", "right", "start", "value")

    def __init__(self, start: bytes, end: bytes | None, value: V, priority: float) -> None:
        self.start = start
        self.end = end
        self.value = value
        self.priority = priority
        self.rank = _rank(start, end)
        self.left: _Node[V] | None = None
        self.right: _Node[V] | None = None
        #: The farthest end in this subtree; None = open.
        self.reach = end

    def refresh(self) -> None:
        reach = self.end
        for child in (self.left, self.right):
            if reach is None:
                break
            if child is not None and (child.reach is None or child.reach > reach):
                reach = child.reach
        self.reach = reach


class IntervalMap(Generic[V]):
    """[start, end) -> value; an `end` of None has no bound. One value per interval."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[bytes, bytes | None], _Node[V]] = {}
        self._root: _Node[V] | None = None
        # Any sequence keeps the tree balanced; a seed makes runs repeatable.
        self._random = random.Random(1)

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, start: bytes, end: bytes | None) -> V | None:
        """Return the value of exactly this interval; None if absent."""
        node = self._nodes.get((start, end))
        return None if node is None else node.value

    def add(self, start: bytes, end: bytes | None, value: V) -> None:
        """Add an interval that is not in the map."""
        assert (start, end) not in self._nodes
        node = _Node(start, end, value, self._random.random())
        self._nodes[start, end] = node
        self._root = _insert(self._root, node)

    def remove(self, start: bytes, end: bytes | None) -> None:
        """Remove an interval that is in the map."""
        node = self._nodes.pop((start, end))
        self._root = _remove(self._root, node)

    def holding(self, key: bytes) -> list[V]:
        """The values of all intervals that hold `key`, in no particular order."""
        found: list[V] = []
        pending = [self._root]
        while pending:
            node = pending.pop()
            if node is None or (node.reach is not None and node.reach <= key):
                continue
            pending.append(node.left)
            if node.start <= key:
                if node.end is None or key < node.end:
                    found.append(node.value)
                pending.append(node.right)
        return found


def _insert(root: _Node[V] | None, node: _Node[V]) -> _Node[V]:
    if root is None:
        return node
    if node.priority > root.priority:
        node.left, node.right = _split(root, node.rank)
        node.refresh()
        return node
    if node.rank < root.rank:
        root.left = _insert(root.left, node)
    else:
        root.right = _insert(root.right, node)
    root.refresh()
    return root


def _remove(root: _Node[V] | None, node: _Node[V]) -> _Node[V] | None:
    assert root is not None
    if root is node:
        return _merge(root.left, root.right)
    if node.rank < root.rank:
        root.left = _remove(root.left, node)
    else:
        root.right = _remove(root.right, node)
    root.refresh()
    return root


def _split(root: _Node[V] | None, rank: _Rank) -> tuple[_Node[V] | None, _Node[V] | None]:
    if root is None:
        return None, None
    if root.rank < rank:
        root.right, above = _split(root.right, rank)
        root.refresh()
        return root, above
    below, root.left = _split(root.left, rank)
    root.refresh()
    return below, root


def _merge(low: _Node[V] | None, high: _Node[V] | None) -> _Node[V] | None:
    if low is None or high is None:
        return high if low is None else low
    if low.priority > high.priority:
        low.right = _merge(low.right, high)
        low.refresh()
        return low
    high.left = _merge(low, high.left)
    high.refresh()
    return high
