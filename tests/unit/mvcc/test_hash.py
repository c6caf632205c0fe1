"""Coverage of the hash of a store."""

from __future__ import annotations

from pathlib import Path

from rusd.base.sliced import finish
from rusd.mvcc.revision import index_key, index_prefix, revision_key
from rusd.mvcc.store import Store
from rusd.storage import Batch, Engine, Family


def test_rows_that_an_unfinished_apply_wrote_ahead_do_not_change_the_hash(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    store = Store(engine)
    try:
        before = finish(store.hash_slices())
        ahead = Batch()
        for sub in range(3):
            key = b"k%d" % sub
            ahead.put(Family.KEY, revision_key(store.revision + 1, sub), key)
            prefix = index_prefix(key)
            ahead.put(Family.INDEX, index_key(prefix, store.revision + 1, sub), b"")
        engine.write(ahead)
        assert finish(store.hash_slices()) == before
        store.revision += 1
        assert finish(store.hash_slices()) != before
    finally:
        engine.close()
