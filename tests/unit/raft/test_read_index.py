"""Linearizable reads: rounds on the leader, waiting on every member."""

from rusd.raft.errors import RequestTimeout
from rusd.raft.ids import first_number
from rusd.raft.read.rounds import ReadIndexRounds
from rusd.raft.read.waiting import RETRY, Read, WaitingReads


def test_a_round_needs_a_quorum() -> None:
    rounds, confirmed = ReadIndexRounds(5), list[int | None]()
    rounds.add(confirmed.append)
    number = rounds.open(commit_index=9)
    assert number is not None
    rounds.confirm(2, number)
    rounds.confirm(2, number)
    assert confirmed == []
    rounds.confirm(3, number)
    assert confirmed == [9]


def test_a_single_voter_needs_no_other_vote() -> None:
    rounds, confirmed = ReadIndexRounds(1), list[int | None]()
    rounds.add(confirmed.append)
    assert rounds.open(4) is None
    assert confirmed == [4]


def test_nothing_is_asked_when_nothing_waits() -> None:
    assert ReadIndexRounds(3).open(4) is None


def test_an_answer_to_an_earlier_round_says_nothing_of_a_later_one() -> None:
    rounds, confirmed = ReadIndexRounds(3), list[int | None]()
    rounds.add(confirmed.append)
    first = rounds.open(5)
    rounds.add(confirmed.append)
    second = rounds.open(6)
    assert first is not None and second is not None
    rounds.confirm(2, first)
    assert confirmed == [5]
    rounds.confirm(2, second)
    assert confirmed == [5, 6]


def test_an_answer_to_a_later_round_confirms_the_earlier_ones_at_their_own_index() -> None:
    rounds, confirmed = ReadIndexRounds(3), list[int | None]()
    for index in (5, 6):
        rounds.add(confirmed.append)
        number = rounds.open(index)
    assert number is not None
    rounds.confirm(2, number)
    assert confirmed == [5, 6]


def test_a_lost_leadership_confirms_nothing() -> None:
    rounds, confirmed = ReadIndexRounds(3), list[int | None]()
    rounds.add(confirmed.append)
    number = rounds.open(5)
    assert number is not None
    rounds.add(confirmed.append)
    rounds.fail()
    assert confirmed == [None, None]
    rounds.confirm(2, number)
    assert rounds.open(6) is None
    assert confirmed == [None, None]


def test_an_open_round_can_be_asked_about_again() -> None:
    rounds = ReadIndexRounds(3)
    assert rounds.unanswered() is None
    rounds.add(lambda index: None)
    number = rounds.open(5)
    assert rounds.unanswered() == number


def release(reads: WaitingReads, applied: int) -> None:
    """Serve the reads that may be."""
    for done, result in reads.release(applied):
        done(result)


def waiting(reads: WaitingReads, deadline: float = 10.0) -> list[object]:
    results: list[object] = []
    reads.add(Read(results.append, deadline))
    return results


def test_a_read_waits_until_its_index_is_applied() -> None:
    reads = WaitingReads(first_number())
    results = waiting(reads)
    (number,) = reads.ask(now=0.0)
    release(reads, 9)
    assert results == [], "not confirmed"
    reads.answered(number, 10)
    release(reads, 9)
    assert results == [], "not applied"
    release(reads, 10)
    assert results == [None]


def test_reads_that_come_after_the_question_wait_for_the_next() -> None:
    reads = WaitingReads(first_number())
    first = waiting(reads)
    (number,) = reads.ask(0.0)
    second = waiting(reads)
    reads.answered(number, 3)
    release(reads, 3)
    assert (first, second) == ([None], [])
    assert reads.pending()


def test_an_unanswered_question_is_repeated_under_its_number() -> None:
    reads = WaitingReads(first_number())
    waiting(reads)
    (number,) = reads.ask(0.0)
    reads.ask_again(RETRY / 2)
    assert not reads.pending()
    reads.ask_again(RETRY * 1.1)
    assert reads.pending()
    assert reads.ask(RETRY * 1.1) == [number]
    assert not reads.pending()


def test_a_late_answer_serves_a_question_that_was_repeated() -> None:
    reads = WaitingReads(first_number())
    results = waiting(reads)
    (number,) = reads.ask(0.0)
    reads.ask_again(RETRY * 1.1)
    reads.answered(number, 3)
    assert reads.ask(RETRY * 1.1) == [], "it is answered"
    reads.answered(number, 9)
    release(reads, 3)
    assert results == [None]


def test_a_new_leader_is_asked_at_once() -> None:
    reads = WaitingReads(first_number())
    waiting(reads)
    (number,) = reads.ask(0.0)
    reads.ask_again(0.0, everything=True)
    reads.ask_again(0.1)
    assert reads.pending()
    assert reads.ask(0.1) == [number]


def test_a_member_that_becomes_leader_takes_its_open_questions_itself() -> None:
    reads = WaitingReads(first_number())
    results, more = waiting(reads), []
    (number,) = reads.ask(0.0)
    reads.ask_again(0.0, everything=True)
    reads.add(Read(more.append, 10.0))
    taken = reads.take()
    assert len(taken) == 2
    assert not reads.pending()
    reads.answered(number, 1)
    release(reads, 1)
    assert results == more == [], "the answer comes too late to matter"
    reads.confirmed(2, taken)
    release(reads, 2)
    assert results == more == [None]


def test_numbers_of_questions_differ_between_lives() -> None:
    first, second = WaitingReads(first_number()), WaitingReads(first_number())
    waiting(first)
    results = waiting(second)
    (late,) = first.ask(0.0)
    second.ask(0.0)
    second.answered(late, 3)
    release(second, 3)
    assert results == [], "the answer to a question of an earlier life"


def test_a_read_is_given_up_at_its_deadline_wherever_it_waits() -> None:
    reads = WaitingReads(first_number())
    first = waiting(reads, 5.0)
    (number,) = reads.ask(0.0)
    reads.answered(number, 99)
    second = waiting(reads, 5.0)
    reads.ask(0.0)
    third = waiting(reads, 5.0)
    later = waiting(reads, 6.0)
    for done, error in reads.expire(5.0, RequestTimeout):
        done(type(error))
    assert first == second == third == [RequestTimeout]
    assert later == []
