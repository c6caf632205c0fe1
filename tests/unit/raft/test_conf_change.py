"""ConfChanges of the membership: one at a time, and the voters that count from then on."""

from pathlib import Path

import pytest

from rusd.raft.commands import encode_conf_change, encode_entry, is_conf_change
from rusd.raft.core.conf_change import ConfChanges, committed_by_conf_changes
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.ports import Membership
from rusd.raft.read.rounds import ReadIndexRounds
from tests.unit.raft.cores import Member


def membership(voters: set[int], learners: set[int] | None = None) -> Membership:
    return Membership(frozenset(voters), frozenset(learners or ()))


def change(number: int) -> tuple[int, int, bytes]:
    return (1, number, b"\xf0 change")


def ack(term: int, index: int) -> dict[str, object]:
    """A follower holds everything up to `index`."""
    message = {"type": "next_node_idx", "reset": False, "success": True}
    return {**message, "term": term, "next_node_idx": index + 1}


def changes_in(core: PySyncObjRaft) -> list[int]:
    log = core.log
    return [
        index for command, index, _ in log.entries(0, log.last_index + 1) if is_conf_change(command)
    ]


def test_a_second_change_waits_until_the_first_is_applied(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    changes = ConfChanges(leader.core)
    changes.add([change(1), change(2)])
    assert changes.step(current=True)
    assert not changes.step(current=True)
    (first,) = changes_in(leader.core)
    leader.journal.flush()
    leader.receive(2, ack(1, first))
    leader.core.tick()
    assert leader.core.applied_index == first
    assert changes.step(current=True)
    assert len(changes_in(leader.core)) == 2


def test_a_change_waits_until_an_entry_of_the_leaders_own_term_is_applied(tmp_path: Path) -> None:
    """An entry of an earlier leader may be a change that is not applied yet."""
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    changes = ConfChanges(leader.core)
    changes.add([change(1)])
    assert not changes.step(current=False)
    assert changes.step(current=True)


def test_what_waited_when_leadership_was_lost_is_not_added_by_a_later_leadership(
    tmp_path: Path,
) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    changes = ConfChanges(leader.core)
    changes.add([change(1)])
    leader.core.learn_term(2, 4)
    leader.lead(5, [2])
    assert not changes.step(current=True)
    assert changes_in(leader.core) == []


def test_every_change_in_the_log_but_the_last_is_committed(tmp_path: Path) -> None:
    member = Member(1, [2, 3], tmp_path)
    core = member.core
    assert committed_by_conf_changes(core) == 0
    core.log.add(encode_conf_change(change(1)), 2, 1)
    assert committed_by_conf_changes(core) == 0
    core.log.add(encode_entry([(1, 2, b"\x01")]), 3, 1)
    core.log.add(encode_conf_change(change(3)), 4, 2)
    assert committed_by_conf_changes(core) == 2


def test_a_learner_gets_entries_but_does_not_count(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership({1, 2}, {3}))
    index = leader.core.propose(b"\x00")
    leader.journal.flush()
    leader.core.send_appends()
    assert leader.sent(to=3, kind="append_entries")
    leader.receive(3, ack(1, index))
    leader.core.tick()
    assert leader.core.commit_index < index
    leader.receive(2, ack(1, index))
    leader.core.tick()
    assert leader.core.commit_index == index


def test_a_new_voter_counts_from_the_moment_its_addition_is_applied(tmp_path: Path) -> None:
    leader = Member(1, [2], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership({1, 2, 3, 4}))
    index = leader.core.propose(b"\x00")
    leader.journal.flush()
    leader.receive(2, ack(1, index))
    leader.core.tick()
    assert leader.core.commit_index < index
    leader.receive(4, ack(1, index))
    leader.core.tick()
    assert leader.core.commit_index == index


def test_a_removed_member_counts_no_more_and_is_sent_nothing(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership({1, 2}))
    leader.core.propose(b"\x00")
    leader.journal.flush()
    leader.core.send_appends()
    assert leader.sent(to=3) == []
    assert leader.core.match_index(3) == 0


def test_a_leader_that_was_removed_leads_no_more(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership({2, 3}))
    assert not leader.core.is_leader
    assert leader.core.leader == 0


def test_a_learners_vote_is_worth_nothing(tmp_path: Path) -> None:
    candidate = Member(1, [2, 3], tmp_path)
    candidate.core.reconfigure(membership({1, 2}, {3}))
    candidate.core.campaign()
    candidate.receive(3, {"type": "response_vote", "term": candidate.core.term})
    assert not candidate.core.is_leader
    candidate.receive(2, {"type": "response_vote", "term": candidate.core.term})
    assert candidate.core.is_leader


def test_a_candidate_asks_no_learner(tmp_path: Path) -> None:
    candidate = Member(1, [2, 3], tmp_path)
    candidate.core.reconfigure(membership({1, 2}, {3}))
    candidate.core.campaign()
    assert candidate.sent(to=2, kind="request_vote")
    assert candidate.sent(to=3) == []


def test_a_new_member_is_sent_the_log_from_its_beginning(tmp_path: Path) -> None:
    leader = Member(1, [2], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership({1, 2}, {9}))
    leader.core.link.connected(leader.core.peers[9])
    leader.core.propose(b"\x00")
    leader.core.send_appends()
    (append, *_) = leader.sent(to=9, kind="append_entries")
    leader.receive(
        9, {"type": "next_node_idx", "reset": True, "success": False, "term": 1, "next_node_idx": 2}
    )
    leader.core.send_appends()
    sent = [each for each in leader.sent(to=9, kind="append_entries") if each.get("entries")]
    assert append["term"] == 1
    assert sent[-1]["entries"][0][1] == 2


def test_a_read_confirmed_by_a_member_that_is_removed_is_confirmed_anew() -> None:
    """Two of five may be a majority of the three that stay only if they are among them."""
    found: list[int | None] = []
    reads = ReadIndexRounds(5)
    reads.add(found.append)
    number = reads.open(7)
    assert number is not None
    reads.confirm(4, number)
    reads.reopen(3)
    again = reads.open(8)
    assert again is not None and again > number
    reads.confirm(2, number)
    assert found == []
    reads.confirm(2, again)
    assert found == [8]


@pytest.mark.parametrize("voters", [{1}, {1, 2}])
def test_a_cluster_may_shrink_to_one_and_goes_on(tmp_path: Path, voters: set[int]) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    leader.core.reconfigure(membership(voters))
    index = leader.core.propose(b"\x00")
    leader.journal.flush()
    if len(voters) > 1:
        leader.receive(2, ack(1, index))
    leader.core.tick()
    assert leader.core.commit_index == index
