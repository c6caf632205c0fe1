"""PySyncObj's ways to lose acknowledged writes, each shown not to work through the adapter.

The numbers are those of the hazards in the reference on PySyncObj.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pysyncobj.syncobj
import pytest

from rusd.raft.core import syncobj as core_module
from rusd.raft.core.algorithm import BrokenMessage
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.log import journal as journal_module
from rusd.raft.log.journal import JournalError, LogEntry
from rusd.raft.ports import Position
from tests.unit.raft.cores import Member, entries, entry


def test_an_acknowledgement_of_an_earlier_leadership_is_ignored(tmp_path: Path) -> None:
    """Hazard 1: it would raise matchIndex for entries the follower never had."""
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    late = {"type": "next_node_idx", "next_node_idx": 9, "reset": False, "success": True, "term": 1}
    leader.core.learn_term(2, 4)
    leader.lead(5, [2])
    for number in range(8):
        leader.core.propose(entry(0, 0, str(number))[0])
    leader.receive(2, late)
    leader.core.tick()
    assert leader.core.match_index(2) == 0
    assert leader.core.commit_index == 1


def test_an_acknowledgement_is_stamped_with_the_term_of_the_append_it_answers(
    tmp_path: Path,
) -> None:
    """Hazard 1: also when the follower learns a higher term before the answer leaves."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 3, (1, 0), entries(2, 3, 3))
    follower.core.learn_term(3, 8)
    (answer,) = follower.sent(to=1, kind="next_node_idx")
    assert (answer["term"], answer["next_node_idx"]) == (3, 4)


def test_an_acknowledgement_beyond_the_leaders_log_is_ignored(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    ack = {"type": "next_node_idx", "reset": False, "success": True, "term": 1}
    leader.receive(2, {**ack, "next_node_idx": 100})
    assert leader.core.match_index(2) == 0
    leader.receive(2, {**ack, "next_node_idx": 3})
    assert leader.core.match_index(2) == 2


def test_a_heartbeat_does_not_commit_a_tail_it_says_nothing_about(tmp_path: Path) -> None:
    """Hazard 2: a divergent tail would be applied and its client told of success."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(3, 1, (1, 0), entries(2, 5, 1))
    follower.receive(1, {"type": "append_entries", "term": 2, "commit_index": 5})
    follower.core.tick()
    assert (follower.core.commit_index, follower.applied) == (1, [])


def test_pysyncobjs_own_snapshots_are_refused(tmp_path: Path) -> None:
    """Hazards 2, 5, 6 and 14: they are pickles, and acknowledged even if loading them fails."""
    follower = Member(2, [1, 3], tmp_path)
    message = {"type": "append_entries", "term": 2, "commit_index": 5}
    for extra in ({"serialized": [b"", True, True]}, {"serialized": None}):
        with pytest.raises(BrokenMessage):
            follower.receive(1, {**message, **extra})


def test_pickled_transmissions_are_refused(tmp_path: Path) -> None:
    """Hazard 14: `transmission=finish` would unpickle what the network sent."""
    follower = Member(2, [1, 3], tmp_path)
    message = {"type": "append_entries", "term": 2, "commit_index": 5, "data": b"cos\nsystem"}
    place = {"prevLogIdx": 1, "prevLogTerm": 0, "entries": []}
    with pytest.raises(BrokenMessage):
        follower.receive(1, {**message, **place, "transmission": "finish"})


@pytest.mark.parametrize("kind", [2, 3, 77])
def test_commands_that_pysyncobj_would_unpickle_are_refused(tmp_path: Path, kind: int) -> None:
    """Hazard 14: membership and version commands are pickles."""
    follower = Member(2, [1, 3], tmp_path)
    with pytest.raises(BrokenMessage):
        follower.append(1, 1, (1, 0), [(bytes([kind]) + b"cos\nsystem", 2, 1)])


def test_an_overlapping_resend_removes_nothing(tmp_path: Path) -> None:
    """Hazard 3: entries behind it were acknowledged."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 30, 1))
    follower.append(1, 1, (1, 0), entries(2, 5, 1), commit=30)
    assert follower.journal.last_index == 30
    assert follower.core.commit_index == 5, "only what the message proves is committed"
    follower.append(1, 1, (10, 1), entries(11, 12, 1))
    assert follower.journal.last_index == 30


def test_a_heartbeat_in_the_middle_of_the_log_removes_nothing(tmp_path: Path) -> None:
    """Hazard 3."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 30, 1))
    follower.append(1, 1, (7, 1), [], commit=30)
    assert follower.journal.last_index == 30
    assert follower.core.commit_index == 7


def test_a_resend_that_reaches_beyond_the_log_adds_what_is_new(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 10, 1))
    follower.append(1, 1, (4, 1), entries(5, 15, 1))
    assert follower.log() == [(1, 0)] + [(index, 1) for index in range(2, 16)]


def test_entries_that_contradict_the_leaders_are_replaced(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(3, 1, (1, 0), entries(2, 9, 1))
    follower.append(1, 2, (4, 1), entries(5, 6, 2))
    assert follower.log() == [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2)]


def test_a_large_entry_before_a_conflict_does_not_hide_it(tmp_path: Path) -> None:
    """PySyncObj sees the conflict by asking for everything from the entry before it on."""
    follower = Member(2, [1, 3], tmp_path)
    large = (b"\x00" + bytes(6 << 20), 2, 1)
    follower.append(3, 1, (1, 0), [large, *entries(3, 5, 1)])
    follower.append(1, 2, (2, 1), entries(3, 3, 2))
    assert follower.log() == [(1, 0), (2, 1), (3, 2)]


def test_a_leader_that_contradicts_committed_entries_ends_the_process(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 9, 1), commit=9)
    with pytest.raises(RuntimeError):
        follower.append(3, 2, (4, 1), entries(5, 6, 2))


def test_a_mismatch_is_answered_with_the_start_of_the_conflicting_term(tmp_path: Path) -> None:
    """Hazard 24: one round trip per term instead of one per entry."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(3, 1, (1, 0), entries(2, 4, 1))
    follower.append(3, 2, (4, 1), entries(5, 30, 2))
    follower.sent()
    follower.append(1, 3, (28, 3), [])
    (answer,) = follower.sent(to=1, kind="next_node_idx")
    assert (answer["reset"], answer["success"], answer["next_node_idx"]) == (True, False, 5)


@pytest.mark.parametrize("release", ["this one", "one without attempts"])
def test_a_conflict_before_several_appends_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    """The first append is rejected for the conflict, the others for a gap behind it."""
    monkeypatch.setattr(journal_module, "SLICE_BYTES", 1)
    leader, follower = Member(1, [2, 3], tmp_path / "1"), Member(2, [1, 3], tmp_path / "2")
    follower.append(3, 1, (1, 0), entries(2, 5, 1))
    leader.append(3, 2, (1, 0), entries(2, 12, 2))
    leader.lead(3, [3])
    for _ in range(4):
        leader.core.send_appends()
        for message in leader.sent(to=2, kind="append_entries"):
            follower.receive(1, message)
        for message in follower.sent(to=1, kind="next_node_idx"):
            if release == "one without attempts":
                message.pop("attempt", None)
            leader.receive(2, message)
    assert follower.log() == leader.log()


def test_a_conflict_before_several_appends_has_each_entry_sent_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rejection comes in a step of its own, and the leader sends in each step."""
    monkeypatch.setattr(journal_module, "SLICE_BYTES", 1)
    leader, follower = Member(1, [2, 3], tmp_path / "1"), Member(2, [1, 3], tmp_path / "2")
    follower.append(3, 1, (1, 0), entries(2, 5, 1))
    leader.append(3, 2, (1, 0), entries(2, 12, 2))
    leader.lead(3, [3])
    for sent_at_once in (1, 4):  # where the logs end, then what lies behind the follower's end
        leader.core.send_appends()
        sent = leader.sent(to=2, kind="append_entries")
        assert len(sent) >= sent_at_once
        for message in sent:
            follower.receive(1, message)
        if sent_at_once == 1:
            for message in follower.sent(to=1, kind="next_node_idx"):
                leader.receive(2, message)
    again: list[int] = []
    rejections = follower.sent(to=1, kind="next_node_idx")
    assert len(rejections) == len(sent)
    for rejection in rejections:
        leader.receive(2, rejection)
        leader.core.send_appends()
        for message in leader.sent(to=2, kind="append_entries"):
            again += [index for _, index, _ in message["entries"]]
            follower.receive(1, message)
    assert follower.log() == leader.log()
    assert len(again) == len(set(again))


@pytest.mark.parametrize("reply", ["earlier release", "later attempt"])
def test_a_rejection_is_followed_unless_a_later_attempt_is_known_to_be_under_way(
    tmp_path: Path, reply: str
) -> None:
    """Members of earlier releases name no attempt; an append that was never written gets no
    answer, the ones behind it of the same attempt do.
    """
    leader = Member(1, [2, 3], tmp_path)
    leader.append(3, 1, (1, 0), entries(2, 9, 1))
    leader.lead(2, [3])
    for following in (7, 5, 3):
        leader.core.send_appends()
        attempts = {message["attempt"] for message in leader.sent(to=2, kind="append_entries")}
        rejection = {"type": "next_node_idx", "term": 2, "next_node_idx": following}
        rejection |= {"reset": True, "success": False}
        if reply == "later attempt":
            rejection["attempt"] = max(attempts)
        leader.receive(2, rejection)
        assert leader.core.next_index(2) == following


def test_acknowledged_entries_survive_a_restart_with_a_newer_state(tmp_path: Path) -> None:
    """Hazard 4: the log beyond the state's position is kept."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 20, 1), commit=12)
    follower.journal.flush()
    follower.journal.close()
    again = Member(2, [1, 3], tmp_path, (Position(12, 1), Position(11, 1)))
    assert again.journal.last_index == 20
    assert again.core.applied_index == again.core.commit_index == 12
    again.core.tick()
    assert again.applied == [], "nothing is replayed"


def test_a_log_older_than_the_state_is_seated_at_the_states_position(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 5, 1))
    follower.journal.flush()
    follower.journal.close()
    again = Member(2, [1, 3], tmp_path, (Position(12, 4), Position(11, 3)))
    assert again.log() == [(11, 3), (12, 4)]
    assert again.core.term == 4
    again.append(1, 4, (12, 4), entries(13, 13, 4), commit=13)
    again.core.tick()
    assert again.applied == entries(13, 13, 4)


def test_a_log_that_begins_behind_the_state_is_refused(tmp_path: Path) -> None:
    """Applied entries are missing from both: starting would lose them silently."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 20, 1), commit=20)
    follower.core.tick()
    follower.journal.flush()
    follower.journal.compact(15)
    follower.journal.close()
    with pytest.raises(JournalError, match="applied state was lost"):
        Member(2, [1, 3], tmp_path, (Position(9, 1), Position(8, 1)))


def test_a_missing_log_beside_an_applied_state_is_refused(tmp_path: Path) -> None:
    """With the log this member's votes and acknowledgements are gone: it could vote twice."""
    with pytest.raises(JournalError, match="holds no log"):
        Member(2, [1, 3], tmp_path, (Position(9, 1), Position(8, 1)))


def test_a_log_that_a_crash_left_cleared_is_seated_again(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 1, (1, 0), entries(2, 20, 1))
    follower.journal.clear()
    follower.journal.flush()
    follower.journal.close()
    again = Member(2, [1, 3], tmp_path, (Position(30, 1), Position(29, 1)))
    assert again.log() == [(29, 1), (30, 1)]


def test_a_failing_apply_is_not_swallowed_nor_repeated(tmp_path: Path) -> None:
    """Hazard 11: partial effects would be repeated at every tick."""
    follower = Member(2, [1, 3], tmp_path)
    calls = []

    def fail(group: object) -> None:
        calls.append(group)
        raise ValueError("storage")

    follower.core.apply = fail
    follower.append(1, 1, (1, 0), entries(2, 9, 1), commit=9)
    with pytest.raises(ValueError, match="storage"):
        follower.core.tick()
    assert len(calls) == 1
    assert follower.core.applied_index == 1


def applies_into(groups: list[list[LogEntry]]) -> Callable[[list[LogEntry]], int]:
    """Applies every group it is given as a whole."""

    def apply(group: list[LogEntry]) -> int:
        groups.append(group)
        return len(group)

    return apply


def test_committed_entries_reach_the_state_as_one_group(tmp_path: Path) -> None:
    groups: list[list[LogEntry]] = []
    follower = Member(2, [1, 3], tmp_path)
    follower.core.apply = applies_into(groups)
    follower.append(1, 1, (1, 0), entries(2, 40, 1), commit=40)
    follower.core.tick()
    assert groups == [entries(2, 40, 1)]


def test_a_long_backlog_is_applied_in_bounded_groups(tmp_path: Path) -> None:
    groups: list[list[LogEntry]] = []
    follower = Member(2, [1, 3], tmp_path)
    follower.core.apply = applies_into(groups)
    follower.append(1, 1, (1, 0), entries(2, 1001, 1), commit=1001)
    while follower.core.applied_index < 1001:
        follower.core.tick()
    assert [one for group in groups for one in group] == entries(2, 1001, 1)
    assert max(map(len, groups)) <= core_module.APPLY_ENTRIES


def test_two_copies_of_a_vote_are_one_vote(tmp_path: Path) -> None:
    """Hazard 12: two of five members must not make a leader."""
    candidate = Member(1, [2, 3, 4, 5], tmp_path)
    candidate.core.campaign()
    vote = {"type": "response_vote", "term": 1}
    candidate.receive(2, vote)
    candidate.receive(2, vote)
    assert not candidate.core.is_leader
    candidate.receive(4, vote)
    assert candidate.core.is_leader


def test_a_vote_of_an_earlier_term_does_not_count(tmp_path: Path) -> None:
    candidate = Member(1, [2, 3], tmp_path)
    candidate.core.campaign()
    candidate.core.campaign()
    candidate.receive(2, {"type": "response_vote", "term": 1})
    assert not candidate.core.is_leader


@pytest.mark.parametrize("size", [65_500, 1 << 20, 3 << 20])
def test_an_entry_of_any_size_travels_in_one_message(tmp_path: Path, size: int) -> None:
    """Hazard 13: stock chunking sticks for good on some sizes."""
    leader = Member(1, [2, 3], tmp_path / "1")
    follower = Member(2, [1, 3], tmp_path / "2")
    leader.lead(1, [2])
    leader.core.propose(b"\x00" + bytes(size))
    while follower.journal.last_index < 3:
        leader.core.send_appends()
        for message in leader.sent(to=2, kind="append_entries"):
            assert "transmission" not in message
            follower.receive(1, message)
        for message in follower.sent(to=1, kind="next_node_idx"):
            leader.receive(2, message)
    assert follower.journal.last_index == 3
    assert len(follower.journal.entries(3, 4)[0][0]) == size + 1


def test_pysyncobjs_membership_changes_are_off(tmp_path: Path) -> None:
    """Hazard 15: it accepts several uncommitted changes at once."""
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [2])
    with pytest.raises(Exception, match="dynamicMembershipChange is disabled"):
        leader.core.addNodeToCluster("localhost:1")


def test_a_renamed_private_method_is_noticed_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pysyncobj.syncobj.SyncObj, "_SyncObj__tryLogCompaction")
    with pytest.raises(RuntimeError, match="tryLogCompaction"):
        Member(1, [2, 3], tmp_path)


def test_an_old_term_neither_adds_entries_nor_gets_an_acknowledgement(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 5, (1, 0), entries(2, 3, 5))
    follower.sent()
    follower.append(3, 4, (1, 0), entries(2, 9, 4))
    assert follower.journal.last_index == 3
    assert follower.sent(to=3) == []


def test_entries_out_of_order_are_refused(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    with pytest.raises(BrokenMessage):
        follower.append(1, 1, (1, 0), [entry(2, 1), entry(4, 1)])


def test_a_single_member_leads_and_commits_alone(tmp_path: Path) -> None:
    alone = Member(1, [], tmp_path)
    alone.core.campaign()
    assert alone.core.is_leader
    alone.core.propose(b"\x00one")
    alone.journal.flush()
    alone.core.tick()
    assert alone.applied[-1] == (b"\x00one", 3, 1)


def test_a_leader_steps_down_without_answers_of_a_quorum(tmp_path: Path) -> None:
    """Hazard 21: CheckQuorum."""
    leader = Member(1, [2, 3], tmp_path)
    leader.core.now = 100.0
    leader.core.conf.leaderFallbackTimeout = 2.0
    leader.lead(1, [2])
    leader.core.now += 1.9
    leader.core.tick()
    assert leader.core.is_leader
    leader.core.heard_from(3)
    leader.core.now += 1.9
    leader.core.tick()
    assert leader.core.is_leader, "one answer of three members is a quorum"
    leader.core.now += 0.2
    leader.core.tick()
    assert not leader.core.is_leader
    assert leader.core.leader == 0


def test_importing_the_core_starts_no_thread() -> None:
    code = (
        "import threading; from rusd.raft.core.syncobj import PySyncObjRaft; "
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_learning_a_term_grants_no_vote(tmp_path: Path) -> None:
    member = Member(1, [2, 3], tmp_path)
    member.core.learn_term(2, 7)
    assert member.core.term == 7
    assert member.sent() == []
    assert member.journal.getVotedForNodeId() is None
    assert isinstance(member.core, PySyncObjRaft)


def test_a_member_that_needs_no_vote_commits_nothing_before_it_is_durable(tmp_path: Path) -> None:
    """PySyncObj counts its own entry of the new term in the moment it is made."""
    alone = Member(1, [], tmp_path)
    alone.core.campaign()
    assert alone.core.is_leader
    assert alone.core.commit_index == alone.core.applied_index == 1 < alone.journal.last_index
    alone.journal.flush()
    alone.core.tick()
    assert alone.core.commit_index == alone.journal.last_index
