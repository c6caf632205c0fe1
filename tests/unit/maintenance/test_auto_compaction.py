"""The times and revisions of automatic compaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rusd.base.pending import Pending
from rusd.maintenance.auto_compaction import AutoCompaction, ByRevision, Periodic, Policy
from rusd.mvcc.errors import Compacted
from rusd.proto import rpc_pb2 as rpc


def compactions(
    policy: Policy, hours: float, revisions_per_second: float
) -> list[tuple[float, int]]:
    """Drive a policy over virtual time; every answer is taken as compacted."""
    now, found = 0.0, []
    while now < hours * 3600:
        revision = 1 + int(now * revisions_per_second)
        target = policy.tick(now, revision)
        if target is not None:
            policy.compacted(now, target)
            found.append((now, target))
        now += policy.interval
    return found


def test_periodic_keeps_the_retention_and_compacts_every_hour() -> None:
    found = compactions(Periodic(2 * 3600), hours=6, revisions_per_second=1)
    assert [time for time, _ in found] == [7200, 10800, 14400, 18000]
    assert all(abs((time - target) - 7200) <= 1 for time, target in found)


def test_periodic_below_an_hour_compacts_every_retention() -> None:
    found = compactions(Periodic(600), hours=1, revisions_per_second=1)
    assert [round(time) for time, _ in found] == [600, 1200, 1800, 2400, 3000]


@pytest.mark.parametrize("retention", [1e-9, 1e-3, 0.05, 0.1, 0.25])
def test_periodic_rests_however_little_is_kept(retention: float) -> None:
    policy = Periodic(retention)
    assert policy.interval >= 0.1
    found = compactions(policy, hours=0.01, revisions_per_second=1000)
    assert len(found) > 30 * min(1, 0.1 / retention)
    kept = [1000 * time - target for time, target in found]
    assert all(1000 * retention - 2 <= revisions <= 1000 * (retention + 0.2) for revisions in kept)


def test_periodic_does_nothing_while_no_revision_is_made() -> None:
    assert len(compactions(Periodic(600), hours=2, revisions_per_second=0)) == 1


def test_by_revision_keeps_the_last_n_revisions() -> None:
    policy = ByRevision(1000)
    assert policy.tick(0, 1000) is None
    assert policy.tick(300, 1500) == 500
    policy.compacted(300, 500)
    assert policy.tick(600, 1500) is None
    assert policy.tick(900, 1501) == 501


class Member:
    """A leader and its store; `first` is what a client does before a proposal is applied."""

    is_leader = True

    def __init__(self, revision: int, first: Callable[[], None] = lambda: None) -> None:
        self.revision = revision
        self.compact_revision = -1
        self.proposed: list[int] = []
        self._first = first

    def propose(self, payload: bytes) -> Pending[Any]:
        revision = rpc.CompactionRequest.FromString(payload[1:]).revision
        self.proposed.append(revision)
        self._first()
        answer: Pending[Any] = Pending()
        if revision <= self.compact_revision:
            answer.set_exception(Compacted())
        else:
            self.compact_revision = revision
            answer.set_result(None)
        return answer


class Ticks:
    """A policy that wants `revision` at every tick until it is done, and counts ticks."""

    interval = 0.0

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self.ticks = 0
        self.done: list[int] = []

    def tick(self, now: float, revision: int) -> int | None:
        self.ticks += 1
        return None if self.done else self._revision

    def compacted(self, now: float, revision: int) -> None:
        self.done.append(revision)


def after_ticks(count: int, policy: Ticks, member: Member) -> None:
    async def main() -> None:
        running = asyncio.create_task(AutoCompaction(policy, member, member).run())
        while policy.ticks < count:
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(main())


def test_what_a_client_has_compacted_is_not_proposed_and_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    member, policy = Member(100), Ticks(50)
    member.compact_revision = 60
    after_ticks(5, policy, member)
    assert (member.proposed, policy.done) == ([], [50])
    assert not caplog.records


def test_a_client_that_compacts_first_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    member, policy = Member(100, lambda: setattr(member, "compact_revision", 60)), Ticks(50)
    after_ticks(5, policy, member)
    assert (member.proposed, policy.done) == ([50], [50])
    assert not caplog.records


def test_a_compaction_by_itself_is_proposed_once() -> None:
    member, policy = Member(100), Ticks(50)
    after_ticks(5, policy, member)
    assert (member.proposed, policy.done) == ([50], [50])


def test_a_follower_proposes_nothing() -> None:
    member, policy = Member(100), Ticks(50)
    member.is_leader = False
    after_ticks(5, policy, member)
    assert (member.proposed, policy.done) == ([], [])
