"""The conditions on which linearizable reads are served."""

from __future__ import annotations

from typing import cast

import pytest

from rusd.raft.apply import READS_SECONDS, serve
from rusd.raft.core.core import Core
from rusd.raft.errors import RequestTimeout
from rusd.raft.ids import first_number
from rusd.raft.read.waiting import PORTION, Read, WaitingReads


def release(reads: WaitingReads, applied: int) -> None:
    """Serve the reads that may be."""
    for done, result in reads.release(applied):
        done(result)


def waiting(
    reads: WaitingReads, count: int, answers: list[object], deadline: float = 10
) -> list[Read]:
    for _ in range(count):
        reads.add(Read(answers.append, deadline))
    return reads.take()


def test_a_read_goes_once_its_index_is_applied() -> None:
    reads, answers = WaitingReads(first_number()), []
    reads.confirmed(5, waiting(reads, 1, answers))
    release(reads, 4)
    assert answers == []
    release(reads, 5)
    assert answers == [None]
    assert not reads.more


def test_many_reads_go_a_portion_at_a_time() -> None:
    reads, answers = WaitingReads(first_number()), []
    reads.confirmed(5, waiting(reads, 2 * PORTION + 1, answers))
    for expected in (PORTION, 2 * PORTION):
        release(reads, 5)
        assert len(answers) == expected
        assert reads.more
    release(reads, 5)
    assert answers == [None] * (2 * PORTION + 1)
    assert not reads.more


def test_reads_that_take_long_are_served_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be a range of a thousand keys."""
    reads, answers, now = WaitingReads(first_number()), list[object](), [0.0]
    monkeypatch.setattr("rusd.raft.apply.perf_counter", lambda: now[0])

    def long_read(outcome: object) -> None:
        answers.append(outcome)
        now[0] += READS_SECONDS / 2

    reads.confirmed(5, [Read(long_read, 9.0) for _ in range(10)])
    reads.count = 10
    served = []
    while len(answers) < 10:
        before = len(answers)
        serve(cast(Core, reads), reads.release(5))
        served.append(len(answers) - before)
        assert reads.count == 10 - len(answers)
        assert reads.more == (len(answers) < 10)
    assert max(served) <= 3
    assert min(served) >= 1


def test_a_read_that_is_late_for_its_portion_is_given_up() -> None:
    reads, answers = WaitingReads(first_number()), []
    reads.confirmed(5, waiting(reads, PORTION + 1, answers, deadline=3))
    release(reads, 5)
    ((done, error),) = reads.expire(3, RequestTimeout)
    assert (done, type(error)) == (answers.append, RequestTimeout)
    assert answers == [None] * PORTION
    assert not reads.more
