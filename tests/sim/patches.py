"""Puts the simulation in the place of what members reach for, while schedules run."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import rusd.base.worker
import rusd.member.member_list
import rusd.mvcc.writer
import rusd.raft.core.messages
import rusd.raft.core.syncobj
import rusd.raft.driver
import rusd.raft.ids
import rusd.raft.log.journal
import rusd.raft.log.segments
import rusd.raft.read.waiting
import rusd.raft.snapshots.transfer
import rusd.raft.transport.incarnations
import rusd.state.database_directory
import rusd.state.entry_apply
import rusd.state.write_txn
from tests.sim.disk import SimJournal
from tests.sim.engine import MemoryEngine
from tests.sim.network import SimPeers


@contextmanager
def patched(chance: random.Random) -> Iterator[None]:
    """`chance`: the source of all random numbers."""

    def numbers(count: int) -> bytes:
        return chance.getrandbits(8 * count).to_bytes(count, "big")

    source = SimpleNamespace(Random=lambda: random.Random(chance.getrandbits(64)))
    nothing = SimpleNamespace(perf_counter=lambda: 0.0)
    with (
        patch.multiple(
            rusd.raft.driver,
            random=source,
            Journal=SimJournal,
            Peers=SimPeers,
            ThreadPoolExecutor=lambda *_, **__: None,
            FLUSH_INLINE=0,
        ),
        patch.object(rusd.raft.ids, "secrets", SimpleNamespace(randbits=chance.getrandbits)),
        patch.object(
            rusd.raft.transport.incarnations,
            "secrets",
            SimpleNamespace(randbits=chance.getrandbits),
        ),
        patch.object(rusd.raft.log.journal, "time", nothing),
        patch.object(rusd.raft.log.segments.os, "fsync", lambda file: None),
        patch.object(rusd.raft.log.segments.os, "fdatasync", lambda file: None),
        patch.object(rusd.raft.log.segments.os, "urandom", numbers),
        patch.object(rusd.base.worker, "ThreadPoolExecutor", lambda *_, **__: None),
        patch.object(rusd.raft.read.waiting, "RETRY", 0.15),
        # A third, as election timeouts are.
        patch.multiple(rusd.member.member_list, INTERVAL=0.6, MIN_INTERVAL=0.15, UNDER_WAY=0.3),
        patch.object(rusd.state.database_directory, "Engine", MemoryEngine),
        # What takes several appends, or several steps, elsewhere is some entries here.
        patch.object(rusd.raft.core.syncobj, "SEND_BYTES", 400),
        patch.object(rusd.raft.log.journal, "SLICE_BYTES", 200),
        patch.object(rusd.raft.core.messages, "APPEND_BYTES", 100),
        # What is long work elsewhere is some keys here.
        patch.multiple(rusd.state.entry_apply, MAX_APPLY_WRITES=12, MAX_APPLY_READS=4),
        patch.object(rusd.state.write_txn, "SLICE", 2),
        patch.multiple(rusd.mvcc.writer, SPILL_WRITES=4, SPILL_AGAIN_WRITES=1),
    ):
        yield
