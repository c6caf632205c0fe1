"""Writing ahead: what an apply too large for one write puts into the store before its commit.

Rows of KEY and INDEX carry their revision, and no read looks beyond the committed one. So they may
be written in slices, and the commit, one atomic write, is left with what is visible at once. A mark
names the committed revision meanwhile; the commit removes it. A start that finds the mark removes
the rows, and the log is applied again from the position in the store.

(A release that does not know the mark would take the rows for committed ones. It may therefore not
be started on a store whose member was killed in the midst of such an apply.)
"""

from rusd.mvcc.revision import index_key, index_prefix, parse_revision_key, revision_key
from rusd.storage import Batch, Engine, Family, Operation
from rusd.wire.keyvalue import key_of

#: (A name that differs among members by nature: see `digest`.)
_MARK = b"raft/ahead"
#: Rows removed in one write.
_REMOVED = 5000


_AHEAD = (Family.KEY, Family.INDEX)


def split(batch: Batch, kept: list[Operation]) -> Batch:
    """Take everything out of `batch`: what may be written ahead, and what is `kept`."""
    ahead = Batch()
    for operation in batch.operations:
        (ahead.operations if operation[0] in _AHEAD else kept).append(operation)
    batch.operations.clear()
    return ahead


def mark(batch: Batch, revision: int) -> None:
    """Rows beyond the committed `revision` follow."""
    batch.put(Family.META, _MARK, revision_key(revision))


def unmark(batch: Batch) -> None:
    """What was written ahead is committed."""
    batch.delete(Family.META, _MARK)


def forget(engine: Engine) -> None:
    """Remove what an apply that was cut short has written ahead."""
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
