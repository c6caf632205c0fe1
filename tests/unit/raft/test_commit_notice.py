"""When followers learn of a commit."""

from rusd.raft.core.commit_notice import PATIENCE, Announcing


def test_a_commit_waits_for_entries_to_travel_with() -> None:
    announcing = Announcing()
    assert not announcing.wants(5, 0, now=1.0)
    announcing.told(5)  # with entries
    assert not announcing.wants(5, 0, now=2.0)
    assert announcing.due == 0


def test_without_entries_it_follows_soon() -> None:
    announcing = Announcing()
    assert not announcing.wants(5, 0, now=1.0)
    assert announcing.due == 1.0 + PATIENCE
    assert announcing.wants(5, 0, now=announcing.due)


def test_a_later_commit_does_not_put_it_off() -> None:
    announcing = Announcing()
    announcing.wants(5, 0, now=1.0)
    announcing.wants(6, 0, now=1.0 + PATIENCE / 4)
    assert announcing.due == 1.0 + PATIENCE


def test_a_call_on_a_follower_that_waits_for_it_is_told_at_once() -> None:
    announcing = Announcing()
    assert announcing.wants(5, 5, now=1.0)
    announcing.told(5)
    assert not announcing.wants(6, 5, now=1.0)
    assert announcing.wants(6, 7, now=1.0)
