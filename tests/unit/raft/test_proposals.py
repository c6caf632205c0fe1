"""Proposals on their way: numbers, batches, what is proven lost, what was taken before."""

from rusd.raft.commands import NO_OP, decode_entry, encode_entry
from rusd.raft.core import proposals
from rusd.raft.core.committed import CommittedEntries
from rusd.raft.core.proposals import ForwardedBatches, Proposals, entries_of
from rusd.raft.errors import RequestTimeout, Stopped
from rusd.raft.ids import first_number


def added(count: int) -> tuple[Proposals, list[object]]:
    """A room with `count` proposals and the list their results go to."""
    room = Proposals(7, first_number())
    results: list[object] = []
    for number in range(count):
        room.add(b"%d" % number, results.append, deadline=10.0 + number)
    return room, results


def test_an_entry_holds_what_was_put_in() -> None:
    requests = [(7, 2**63, b""), (1 << 62, 1, b"\x00\xff" * 9)]
    assert decode_entry(encode_entry(requests)) == requests


def test_pysyncobjs_no_op_holds_no_requests() -> None:
    assert decode_entry(NO_OP) == []


def test_an_entry_is_full_at_so_many_requests() -> None:
    requests = [(1, number, b"") for number in range(2 * proposals.ENTRY_REQUESTS + 1)]
    groups = list(entries_of(requests))
    assert [len(group) for group in groups] == [1000, 1000, 1]
    assert [one for group in groups for one in group] == requests


def test_an_entry_is_full_at_so_many_bytes_but_takes_one_request_of_any_size() -> None:
    half, huge = bytes(proposals.ENTRY_BYTES // 2), bytes(5 * proposals.ENTRY_BYTES)
    payloads = [half, half, b"x", huge, b"y"]
    groups = list(entries_of((1, number, one) for number, one in enumerate(payloads)))
    assert [[len(one[2]) for one in group] for group in groups] == [
        [len(half), len(half)],
        [1],
        [len(huge)],
        [1],
    ]


def test_numbers_rise_in_the_order_of_the_calls() -> None:
    room, _ = added(5)
    taken = room.take(term=1)
    numbers = [number for _, number, _ in taken]
    assert numbers == sorted(set(numbers))
    assert [payload for _, _, payload in taken] == [b"0", b"1", b"2", b"3", b"4"]
    assert not room.unsent()


def test_two_lives_of_a_member_use_different_numbers() -> None:
    first, second = added(1)[0].take(1)[0], added(1)[0].take(1)[0]
    assert first[1] != second[1]


def test_only_a_waiting_proposal_of_this_member_is_wanted() -> None:
    room, results = added(1)
    (_, number, _), *_ = room.take(1)
    command = encode_entry([(7, number, b"0"), (8, number, b"0")])

    def wanted() -> list[bool]:
        (entry,) = CommittedEntries(7, room).take([(command, 5, 1)])
        return [request.wanted for request in entry.requests]

    assert wanted() == [True, False]
    assert room.resolve(number, "done") == (results.append, "done")
    assert room.resolve(number, "again") is None
    assert wanted() == [False, False]


def test_a_proposal_of_an_earlier_term_is_lost_once_a_later_term_is_applied() -> None:
    room, results = added(2)
    (_, old, _), *_ = room.take(term=3)
    room.lost_before(3)
    assert not room.unsent(), "its own term proves nothing"
    room.lost_before(4)
    again = room.take(term=4)
    assert [payload for _, _, payload in again] == [b"0", b"1"]
    assert again[0][1] > old, "under a new number"
    assert old not in room.waiting
    assert results == []


def test_what_was_never_sent_is_not_lost() -> None:
    room, _ = added(1)
    room.lost_before(9)
    assert len(room.take(9)) == 1


def test_a_broken_connection_sends_again_what_is_unanswered_in_its_order() -> None:
    room, _ = added(3)
    first, second, third = room.take(5)
    room.resolve(second[1], None)
    room.add(b"unsent", lambda _: None, 1.0)
    assert room.sent_in(5) == [first, third]
    assert room.sent_in(6) == []


def test_late_ones_are_given_up() -> None:
    room, results = added(3)
    failed = room.fail(RequestTimeout, lambda waiting: waiting.deadline <= 11.0)
    assert [(done, type(error)) for done, error in failed] == [(results.append, RequestTimeout)] * 2
    assert [payload for _, _, payload in room.take(1)] == [b"2"]


def test_there_is_a_limit_to_what_waits() -> None:
    room, _ = added(proposals.MAX_WAITING - 1)
    assert not room.full()
    room.add(b"", lambda _: None, 1.0)
    assert room.full()
    room.fail(Stopped)
    assert not room.full()


def test_there_is_a_limit_to_the_bytes_that_wait() -> None:
    room, _ = added(0)
    payload = bytes(proposals.MAX_WAITING_BYTES // 4)
    for _ in range(4):
        assert not room.full()
        room.add(payload, lambda _: None, 1.0)
    assert room.full()


def test_the_leader_takes_each_number_once_in_its_term() -> None:
    inbox = ForwardedBatches()
    batch = [(2, 10, b"a"), (2, 11, b"b")]
    assert inbox.accept(5, batch) == batch
    assert inbox.accept(5, [*batch, (2, 12, b"c")]) == [(2, 12, b"c")]
    assert inbox.accept(5, [(3, 10, b"other member")]) == [(3, 10, b"other member")]
    assert inbox.accept(6, batch) == batch


def test_a_restarted_member_may_begin_with_lower_numbers() -> None:
    inbox = ForwardedBatches()
    life = 1 << proposals.LIFE_SHIFT
    inbox.accept(5, [(2, 9 * life + 4, b"a")])
    assert inbox.accept(5, [(2, 3 * life, b"b")]) == [(2, 3 * life, b"b")]
