"""Automatic compaction: etcd's two modes as pure functions of time and revision.

A policy's `tick(now, revision)` is called about every `interval` seconds and answers the revision
to compact to, or None. `AutoCompaction` proposes it if this member leads; `compacted` tells that it
went through. A client may compact as well (kube-apiserver does): a revision that is compacted
already counts as done, without a proposal and without a warning.
Source: etcd's compactors of `--auto-compaction-mode` periodic and revision.
"""

import asyncio
import math
from collections import deque
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.mvcc.errors import Compacted
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import Proposer, Role
from rusd.state.command import Kind, encode

log = get_logger(__name__)

HOUR = 3600.0
REVISION_INTERVAL = 300.0
#: Seconds between two looks, however little history is kept: they would take all of a processor.
LEAST_INTERVAL = 0.1


class Policy(Protocol):
    """One mode of automatic compaction."""

    #: Seconds between two ticks.
    interval: float

    def tick(self, now: float, revision: int) -> int | None:
        """Return the revision to compact to now, or None."""

    def compacted(self, now: float, revision: int) -> None:
        """Record that a compaction to `revision` was applied (or found already done)."""


class Periodic:
    """Keep `retention` seconds of history; compact every `min(retention, 1 hour)`.

    The revision is sampled ten times per compaction interval, so that the oldest sample kept is
    the revision of `retention` ago.
    """

    def __init__(self, retention: float) -> None:
        self._every = min(retention, HOUR)
        self.interval = max(self._every / 10, LEAST_INTERVAL)
        steps = max(math.ceil(retention / self.interval - 1e-6), 1)
        self._samples: deque[int] = deque(maxlen=steps + 1)
        self._last_revision = 0
        self._last_time: float | None = None

    def tick(self, now: float, revision: int) -> int | None:
        if self._last_time is None:
            self._last_time = now
        self._samples.append(revision)
        target = self._samples[0]
        full = len(self._samples) == self._samples.maxlen
        if not full or now - self._last_time < self._every or target == self._last_revision:
            return None
        return target

    def compacted(self, now: float, revision: int) -> None:
        self._last_time = now
        self._last_revision = revision


class ByRevision:
    """Keep the last `retention` revisions; checked every 5 minutes."""

    interval = REVISION_INTERVAL

    def __init__(self, retention: int) -> None:
        self._retention = retention
        self._last_revision = 0

    def tick(self, now: float, revision: int) -> int | None:
        target = revision - self._retention
        return target if target > 0 and target != self._last_revision else None

    def compacted(self, now: float, revision: int) -> None:
        self._last_revision = revision


class Node(Role, Proposer, Protocol):
    """The part of the Raft node that this room uses."""


class Store(Protocol):
    """The part of the store that this room uses."""

    @property
    def revision(self) -> int:
        """The newest committed revision."""

    @property
    def compact_revision(self) -> int:
        """The revision of the last compaction; -1 before the first one."""


class AutoCompaction:
    """Runs a policy on one member."""

    def __init__(self, policy: Policy, node: Node, store: Store) -> None:
        self._policy = policy
        self._node = node
        self._store = store

    async def run(self) -> None:
        """Compact by the policy until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            revision = self._policy.tick(clock(), self._store.revision)
            if revision is not None and self._node.is_leader and await self._compact(revision):
                self._policy.compacted(clock(), revision)
            await asyncio.sleep(self._policy.interval)

    async def _compact(self, revision: int) -> bool:
        """Return whether `revision` is compacted now."""
        if revision <= self._store.compact_revision:
            return True
        request = rpc.CompactionRequest(revision=revision)
        try:
            await self._node.propose(encode(Kind.COMPACT, request.SerializeToString()))
        except Compacted:
            return True
        except Refusal as error:
            log.warning("auto compaction failed", extra={"fields": {"error": str(error)}})
            return False
        log.info("compacted automatically", extra={"fields": {"revision": revision}})
        return True
