"""A crash between the steps of a snapshot's installation: state first, then the log."""

import shutil
from pathlib import Path

import pytest

from rusd.raft.log.journal import Journal
from rusd.raft.ports import Position
from tests.unit.raft.cores import Member, entries

#: The state that was installed, and the log that must continue from it.
STATE = (Position(12, 4), Position(11, 3))
SEATED = [(11, 3), (12, 4)]


def diverged(directory: Path) -> Member:
    """A follower whose log has a tail, longer than the state, of a leader that was deposed."""
    follower = Member(2, [1, 3], directory)
    follower.append(3, 1, (1, 0), entries(2, 30, 1), commit=5)
    follower.core.learn_term(1, 4)
    follower.core.tick()
    follower.journal.flush()
    return follower


def goes_on(member: Member) -> None:
    """It takes the leader's next entry and applies it."""
    member.append(1, 4, (12, 4), entries(13, 13, 4), commit=13)
    member.core.tick()
    assert member.applied == entries(13, 13, 4)


def test_before_the_log_was_touched_its_diverged_tail_is_replaced(tmp_path: Path) -> None:
    diverged(tmp_path).journal.close()
    again = Member(2, [1, 3], tmp_path, STATE)
    assert again.log() == SEATED
    goes_on(again)


def test_at_any_byte_of_the_write_that_seats_the_log(tmp_path: Path) -> None:
    follower = diverged(tmp_path / "follower")
    (segment,) = (tmp_path / "follower").glob("*.wal")
    before = segment.read_bytes()
    follower.installed(*STATE)
    follower.journal.close()
    after = segment.read_bytes()
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    for cut in range(changed[0], changed[-1] + 2):
        home = tmp_path / "torn"
        home.mkdir()
        (home / "LOCK").write_bytes((segment.parent / "LOCK").read_bytes())
        (home / segment.name).write_bytes(after[:cut].ljust(len(after), b"\0"))
        again = Member(2, [1, 3], home, STATE)
        assert again.log() == SEATED
        assert again.core.term == 4, "what it heard and voted before is not forgotten"
        goes_on(again)
        again.journal.close()
        shutil.rmtree(home)


def test_before_old_segments_were_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = diverged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_remove_segments", lambda self: None)
        follower.installed(*STATE)
    follower.journal.close()
    again = Member(2, [1, 3], tmp_path, STATE)
    assert again.log() == SEATED
    goes_on(again)


def test_an_installed_state_keeps_the_tail_that_agrees_with_it(tmp_path: Path) -> None:
    """Its entries may have been acknowledged."""
    follower = Member(2, [1, 3], tmp_path)
    follower.append(1, 4, (1, 0), [*entries(2, 11, 3), *entries(12, 20, 4)], commit=5)
    follower.core.tick()
    follower.installed(*STATE)
    assert follower.journal.last_index == 20
    assert follower.core.commit_index == 12
