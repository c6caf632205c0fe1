"""A log behind a snapshot begins with stand-ins for entries whose commands only the snapshot holds.

A member that is one entry short of such a log once got the stand-in as if it were the entry: it
applied nothing where all others had applied a write.
"""

from pathlib import Path

import pytest

from rusd.raft.commands import NO_OP, STAND_IN
from rusd.raft.core.algorithm import BrokenMessage
from rusd.raft.core.messages import Message
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.ports import Position
from tests.unit.raft.cores import Member, entry

STATE = (Position(12, 4), Position(11, 4))


def leader_behind_a_snapshot(directory: Path) -> Member:
    """Member 1 leads in term 5 with a log of the stand-ins 11 and 12 and its own no-op 13."""
    member = Member(1, [2, 3], directory)
    member.core.learn_term(2, 4)
    member.installed(*STATE)
    member.lead(5, [3])
    assert member.log() == [(11, 4), (12, 4), (13, 5)]
    return member


def answered(leader: Member, following: int) -> list[Message]:
    """Return the messages to member 2 when it reports `following` as its next entry."""
    refusal = {"type": "next_node_idx", "reset": True, "success": False}
    leader.receive(2, {**refusal, "term": 5, "next_node_idx": following})
    leader.core.send_appends()
    return leader.sent(to=2)


def test_a_member_one_entry_short_of_a_snapshot_gets_the_snapshot(tmp_path: Path) -> None:
    leader = leader_behind_a_snapshot(tmp_path)
    leader.core.take_messages()
    messages = answered(leader, 12)
    assert "serialized" in messages[0]
    assert all((STAND_IN, 12, 4) not in message.get("entries", ()) for message in messages)
    assert leader.core.take_messages().snapshots == {2}


def test_a_member_that_holds_the_snapshots_last_entry_gets_what_follows(tmp_path: Path) -> None:
    leader = leader_behind_a_snapshot(tmp_path)
    leader.core.take_messages()
    message = answered(leader, 13)[0]
    assert (message["prevLogIdx"], message["entries"]) == (12, [(NO_OP, 13, 5)])
    assert leader.core.take_messages().snapshots == set()


def test_stand_ins_that_an_earlier_release_wrote_are_known(tmp_path: Path) -> None:
    leader = leader_behind_a_snapshot(tmp_path)
    own = leader.journal.entries(13, 14)[0]
    leader.journal.reset_to((NO_OP, 11, 4), (NO_OP, 12, 4))
    leader.journal.add(*own)
    assert "serialized" in answered(leader, 12)[0]


def test_the_first_leaders_no_op_is_no_stand_in(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.lead(1, [3])
    assert leader.log() == [(1, 0), (2, 1)]
    leader.receive(
        2, {"type": "next_node_idx", "reset": True, "success": False, "term": 1, "next_node_idx": 2}
    )
    leader.core.send_appends()
    assert leader.sent(to=2)[-1]["entries"] == [(NO_OP, 2, 1)]


def test_a_no_op_that_no_state_holds_yet_is_no_stand_in(tmp_path: Path) -> None:
    leader = Member(1, [2, 3], tmp_path)
    leader.core.learn_term(2, 4)
    leader.installed(Position(11, 4), Position(10, 4))
    leader.lead(5, [3])
    leader.journal.reset_to((NO_OP, 11, 4), *leader.journal.entries(12, 13))
    assert answered(leader, 12)[-1]["entries"] == [(NO_OP, 12, 5)]


def test_a_stand_in_that_is_received_is_refused(tmp_path: Path) -> None:
    follower = Member(2, [1, 3], tmp_path)
    with pytest.raises(BrokenMessage):
        follower.append(1, 4, (1, 0), [entry(2, 4), (STAND_IN, 3, 4)])
    assert follower.log() == [(1, 0)]


def test_heartbeats_send_no_stand_in_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySyncObj's timer calls the routine itself."""
    leader = leader_behind_a_snapshot(tmp_path)
    leader.core._SyncObj__raftNextIndex[leader.core.peers[2]] = 12
    monkeypatch.setattr(leader.core, "_SyncObj__newAppendEntriesTime", 0.0)
    leader.core.tick()
    assert isinstance(leader.core, PySyncObjRaft)
    assert all((STAND_IN, 12, 4) not in message.get("entries", ()) for message in leader.sent(to=2))
    assert leader.core.take_messages().snapshots == {2}
