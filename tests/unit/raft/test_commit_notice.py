"""Announcements of the commit index to followers."""

from rusd.raft.core.commit_notice import PATIENCE, CommitNotice

FOLLOWERS = (2, 3)


def test_a_commit_waits_for_entries_to_travel_with() -> None:
    notice = CommitNotice()
    assert notice.recipients(FOLLOWERS, 5, now=1.0) == []
    notice.sent(5)  # with entries
    assert notice.recipients(FOLLOWERS, 5, now=2.0) == []
    assert notice.deadline is None


def test_without_entries_it_follows_soon() -> None:
    notice = CommitNotice()
    assert notice.recipients(FOLLOWERS, 5, now=1.0) == []
    assert notice.deadline == 1.0 + PATIENCE
    assert notice.recipients(FOLLOWERS, 5, now=1.0 + PATIENCE) == [2, 3]
    assert notice.deadline is None


def test_a_later_commit_does_not_put_it_off() -> None:
    notice = CommitNotice()
    notice.recipients(FOLLOWERS, 5, now=1.0)
    notice.recipients(FOLLOWERS, 6, now=1.0 + PATIENCE / 4)
    assert notice.deadline == 1.0 + PATIENCE


def test_a_follower_on_which_a_call_waits_for_it_is_told_at_once() -> None:
    notice = CommitNotice()
    notice.wait(2, 5)
    assert notice.recipients(FOLLOWERS, 5, now=1.0) == [2]
    assert notice.recipients(FOLLOWERS, 5, now=1.0) == []
    assert notice.recipients(FOLLOWERS, 5, now=1.0 + PATIENCE) == [3]
    assert notice.recipients(FOLLOWERS, 6, now=2.0) == []


def test_a_commit_of_a_part_of_what_is_awaited_is_told_at_once_as_well() -> None:
    notice = CommitNotice()
    notice.wait(2, 7)
    notice.wait(2, 4)
    assert notice.recipients(FOLLOWERS, 6, now=1.0) == [2]
    assert notice.recipients(FOLLOWERS, 6, now=1.0) == []
    assert notice.recipients(FOLLOWERS, 7, now=1.0) == [2]
    assert notice.recipients(FOLLOWERS, 8, now=1.0) == []


def test_a_follower_that_was_told_with_entries_waits_no_more() -> None:
    notice = CommitNotice()
    notice.wait(2, 5)
    notice.sent(5)
    assert notice.recipients(FOLLOWERS, 6, now=1.0) == []
