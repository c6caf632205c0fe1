"""Puts the simulation in the place of what members reach for, while schedules run."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pysyncobj.syncobj

import rusd.mvcc.writer
import rusd.raft.core.campaign
import rusd.raft.ids
import rusd.raft.log.journal
import rusd.raft.log.segments
import rusd.raft.read.waiting
import rusd.raft.snapshots.transfer
import rusd.raft.transport.incarnations
import rusd.raft.turn
import rusd.state.database_directory
import rusd.state.entry_apply
import rusd.state.write_txn
from tests.sim.disk import SimJournal
from tests.sim.engine import MemoryEngine
from tests.sim.network import SimPeers


@contextmanager
def patched(chance: random.Random, clock: Any) -> Iterator[None]:
    """`chance`: where all random numbers come from. `clock()`: seconds by the clock of the member
    that is running."""

    def numbers(count: int) -> bytes:
        return chance.getrandbits(8 * count).to_bytes(count, "big")

    source = SimpleNamespace(Random=lambda: random.Random(chance.getrandbits(64)))
    nothing = SimpleNamespace(perf_counter=lambda: 0.0)
    with (
        patch.object(pysyncobj.syncobj, "monotonicTime", clock),
        patch.object(rusd.raft.core.campaign, "random", source),
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
        patch.object(rusd.raft.turn, "Journal", SimJournal),
        patch.object(rusd.raft.turn, "Peers", SimPeers),
        patch.object(rusd.raft.turn, "ThreadPoolExecutor", lambda *_, **__: None),
        patch.object(rusd.raft.read.waiting, "RETRY", 0.15),
        patch.object(rusd.raft.turn, "TICK", 0.05),
        patch.object(rusd.raft.turn, "FLUSH_INLINE", 0),
        patch.object(rusd.state.database_directory, "Engine", MemoryEngine),
        # What is long work elsewhere is some keys here.
        patch.object(rusd.state.entry_apply, "MAX_APPLY_WRITES", 12),
        patch.object(rusd.state.write_txn, "SLICE", 2),
        patch.object(rusd.mvcc.writer, "SPILL_WRITES", 4),
        patch.object(rusd.mvcc.writer, "SPILL_AGAIN_WRITES", 1),
    ):
        yield
