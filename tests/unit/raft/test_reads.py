"""The conditions on which linearizable reads are served."""

from __future__ import annotations

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


def test_a_read_that_is_late_for_its_portion_is_given_up() -> None:
    reads, answers = WaitingReads(first_number()), []
    reads.confirmed(5, waiting(reads, PORTION + 1, answers, deadline=3))
    release(reads, 5)
    ((done, error),) = reads.expire(3, RequestTimeout)
    assert (done, type(error)) == (answers.append, RequestTimeout)
    assert answers == [None] * PORTION
    assert not reads.more
