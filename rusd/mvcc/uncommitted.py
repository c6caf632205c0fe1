"""Spilled rows: rows of a long apply that are written before its commit.

Rows of KEY and INDEX contain their revision, and no read goes beyond the committed revision. So
they can be written in slices, and the commit, one atomic write, contains only what becomes visible
at once. A mark names the committed revision meanwhile; the commit removes it. A start that finds
the mark removes the rows, and the log is applied again from the stored position.

(A release that does not know the mark would take the rows for committed ones. It must not be
started on a store whose member was killed during such an apply.)
"""

from rusd.mvcc.revision import index_key, index_prefix, parse_revision_key, revision_key
from rusd.storage import Batch, Engine, Family, Operation
from rusd.wire.keyvalue import key_of

#: (The prefix excludes it from `hash.hash_everything`: it differs between members.)
_MARK = b"raft/ahead"
#: Rows removed in one write.
_REMOVED = 5000


_SPILLED = (Family.KEY, Family.INDEX)


def split(batch: Batch, kept: list[Operation]) -> Batch:
    """Empty `batch`: returns the rows that may be spilled, appends the others to `kept`."""
    ahead = Batch()
    for operation in batch.operations:
        (ahead.operations if operation[0] in _SPILLED else kept).append(operation)
    batch.operations.clear()
    return ahead


def mark(batch: Batch, revision: int) -> None:
    """Record that rows above the committed `revision` may follow."""
    batch.put(Family.META, _MARK, revision_key(revision))


def unmark(batch: Batch) -> None:
    """Record that spilled rows are committed."""
    batch.delete(Family.META, _MARK)


def forget(engine: Engine) -> None:
    """Remove the spilled rows of an apply that did not commit."""
    marked = engine.get(Family.META, _MARK)
    if marked is None:
        return
    beyond = revision_key(parse_revision_key(marked)[0] + 1)
    batch = Batch()
    for key, kv in engine.scan(Family.KEY, beyond, None):
        main, sub, _ = parse_revision_key(key)
        batch.delete(Family.KEY, key)
        batch.delete(Family.INDEX, index_key(index_prefix(key_of(kv)), main, sub))
        if len(batch) >= 2 * _REMOVED:
            engine.write(batch)
            batch.clear()
    unmark(batch)
    engine.write(batch)
