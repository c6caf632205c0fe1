"""When followers learn of a commit."""

from rusd.raft.core.commit_notice import PATIENCE, CommitNotice


def test_a_commit_waits_for_entries_to_travel_with() -> None:
    notice = CommitNotice()
    assert not notice.due(5, 0, now=1.0)
    notice.sent(5)  # with entries
    assert not notice.due(5, 0, now=2.0)
    assert notice.deadline is None


def test_without_entries_it_follows_soon() -> None:
    notice = CommitNotice()
    assert not notice.due(5, 0, now=1.0)
    assert notice.deadline == 1.0 + PATIENCE
    assert notice.due(5, 0, now=1.0 + PATIENCE)


def test_a_later_commit_does_not_put_it_off() -> None:
    notice = CommitNotice()
    notice.due(5, 0, now=1.0)
    notice.due(6, 0, now=1.0 + PATIENCE / 4)
    assert notice.deadline == 1.0 + PATIENCE


def test_a_call_on_a_follower_that_waits_for_it_is_told_at_once() -> None:
    notice = CommitNotice()
    assert notice.due(5, 5, now=1.0)
    notice.sent(5)
    assert not notice.due(6, 5, now=1.0)
    assert notice.due(6, 7, now=1.0)
