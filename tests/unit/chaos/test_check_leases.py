"""Leases keep their keys and end once; a lock has one holder at a time."""

from __future__ import annotations

from cluster.chaos.checks import leases, locks
from cluster.chaos.history import Action, Change, History, LeaseCall, LockHold, Outcome

from .story import Story


class Lease:
    """Calls on lease 7, which holds key k."""

    def __init__(self) -> None:
        self.story = Story()
        self.call("grant", 0, 5, key="k")
        self.story.write("k", "held", 0.5, 0.6)

    def call(
        self,
        action: str,
        begin: float,
        ttl: int = 0,
        outcome: Outcome = Outcome.OK,
        key: str = "",
        lease: int = 7,
    ) -> None:
        call = LeaseCall(0, lease, action, "m1", begin, begin + 0.1, outcome, ttl, key)
        self.story.history.add(call)

    def gone(self, at: float) -> None:
        """The key is deleted, and somebody knows it at this time."""
        self.story.change("k", None)
        self.story.read("k", None, at - 0.01, at)

    def end(self) -> History:
        return self.story.end()

    def whats(self) -> list[str]:
        return [problem.what for problem in leases.check(self.end()).problems]


def test_a_key_that_goes_when_its_lease_ran_out_holds() -> None:
    lease = Lease()
    lease.call("keepalive", 3, 5)
    lease.gone(8.2)
    found = leases.check(lease.end())
    assert found.holds
    assert found.checked == 2


def test_a_key_that_goes_before_its_lease_ran_out_is_found() -> None:
    lease = Lease()
    lease.call("keepalive", 3, 5)
    lease.gone(7)
    assert lease.whats() == ["key k was gone 1.000 s before its lease could end"]


def test_a_delete_known_from_a_watch_is_early_too() -> None:
    lease = Lease()
    lease.story.change("k", None)
    lease.story.events(Change("k", None, 3), at=2)
    assert len(lease.whats()) == 1


def test_a_later_revision_proves_that_the_key_was_gone() -> None:
    lease = Lease()
    lease.story.change("k", None)
    lease.story.write("other", "a", 1, 2)
    assert len(lease.whats()) == 1


def test_a_revoked_lease_may_take_its_key_at_once() -> None:
    for outcome in (Outcome.OK, Outcome.UNKNOWN):
        lease = Lease()
        lease.call("revoke", 1, outcome=outcome)
        lease.gone(1.5)
        assert lease.whats() == []


def test_a_refused_revoke_excuses_nothing() -> None:
    lease = Lease()
    lease.call("revoke", 1, outcome=Outcome.FAILED)
    lease.gone(1.5)
    assert len(lease.whats()) == 1


def test_a_key_deleted_by_a_call_is_not_the_leases_doing() -> None:
    lease = Lease()
    lease.story.delete("k", 1, 2)
    assert lease.whats() == []
    lease = Lease()
    lease.story.unknown(Action.DELETE, "k", 1)
    lease.gone(2)
    assert lease.whats() == []


def test_a_key_may_go_with_the_first_of_its_leases_to_end() -> None:
    lease = Lease()
    lease.call("grant", 3, 60, key="k", lease=8)
    lease.gone(5.2)
    assert lease.whats() == []


def test_a_lease_alive_after_it_was_revoked_is_found() -> None:
    for action in ("keepalive", "ttl"):
        lease = Lease()
        lease.call("revoke", 1)
        lease.call(action, 2, 5)
        assert lease.whats() == ["lease 7 was found alive after it was known to have ended"]


def test_a_lease_alive_after_it_was_seen_expired_is_found() -> None:
    for action in ("keepalive", "ttl"):
        lease = Lease()
        lease.call(action, 6, 0)
        lease.call("keepalive", 7, 5)
        assert lease.whats() == ["lease 7 was found alive after it was known to have ended"]


def test_a_lease_alive_after_it_was_not_found_holds_where_that_proves_nothing() -> None:
    lease = Lease()
    lease.story.history.about["lease ends"] = False
    lease.call("ttl", 2, 0)
    lease.call("keepalive", 3, 5)
    assert lease.whats() == []
    lease.call("revoke", 4)
    lease.call("ttl", 5, 3)
    assert lease.whats() == ["lease 7 was found alive after it was known to have ended"]


def test_a_keepalive_beside_the_revoke_may_succeed() -> None:
    lease = Lease()
    lease.call("revoke", 1)
    lease.call("keepalive", 1.05, 5)
    lease.call("keepalive", 2, 0)
    assert lease.whats() == []


def test_a_lease_alive_after_its_key_had_gone_is_found() -> None:
    lease = Lease()
    lease.gone(5.5)
    lease.call("keepalive", 6, 5)
    assert lease.whats() == ["lease 7 was found alive after its key k had gone with it"]


def test_a_key_that_outlives_its_lease_by_far_is_found() -> None:
    story = Story()
    story.history.add(LeaseCall(0, 7, "grant", "m1", 0, 1, Outcome.OK, 5, "k"))
    story.change("k", "held")
    story.write("other", "a", 10, 11)
    assert leases.check(story.end()).holds
    story.write("other", "b", 60, 61)
    story.history.finals.clear()
    assert "is still there 55 s after" in leases.check(story.end()).problems[0].what


# --- locks ----------------------------------------------------------------------------------------


def hold(client: int, token: int, *writes: int, **more: object) -> LockHold:
    fields: dict[str, object] = {"lease": client, "acquired": token, "released": None, **more}
    return LockHold(client=client, lock="lock", token=token, writes=writes, **fields)  # type: ignore[arg-type]


def lock_problems(*holds: LockHold, story: Story | None = None) -> list[str]:
    history = story.end() if story else History()
    history.locks.extend(holds)
    return [problem.what for problem in locks.check(history).problems]


def test_holds_that_follow_each_other_are_right() -> None:
    assert not lock_problems(
        hold(1, 2, 4, 5, released=6, released_at=6), hold(2, 3, 7, 8), hold(3, 10, 11)
    )


def test_writes_of_two_holders_that_interleave_are_found() -> None:
    assert lock_problems(hold(1, 2, 4, 6), hold(2, 3, 5)) == [
        "lock lock: a write at revision 5 while another held it until 6"
    ]


def test_a_write_before_the_earlier_holder_let_go_is_found() -> None:
    assert lock_problems(hold(1, 2, released_at=9), hold(2, 3, 5)) == [
        "lock lock: a write at revision 5 while another held it until 9"
    ]


def test_a_write_after_its_own_hold_ended_is_found() -> None:
    assert lock_problems(hold(1, 2, 8, released_at=6)) == [
        "lock lock: a write at revision 8 came after the hold ended at 6"
    ]


def test_a_write_before_its_token_is_found() -> None:
    assert lock_problems(hold(1, 5, 4)) == [
        "lock lock: a write at revision 4 came before its token"
    ]


def test_a_token_given_twice_is_found() -> None:
    assert "lock lock was held twice with token 2" in lock_problems(hold(1, 2), hold(2, 2))


def test_the_end_of_a_hold_is_known_from_the_final_history() -> None:
    story = Story()
    story.change("lock/1", "")
    story.change("lock/2", "")
    story.change("data", "a")
    story.change("lock/1", None)
    assert lock_problems(hold(1, 2), hold(2, 3, 4), story=story) == [
        "lock lock: a write at revision 4 while another held it until 5"
    ]


def test_a_lock_given_away_while_its_holders_lease_lives_is_found() -> None:
    story = Story()
    story.history.add(LeaseCall(1, 1, "grant", "m1", 0, 1, Outcome.OK, 60))
    assert lock_problems(hold(1, 2), hold(2, 3, acquired=20), story=story) == [
        "lock lock was given away 40.000 s before its holder's lease could end"
    ]


def test_a_lock_that_was_let_go_or_revoked_passes_on() -> None:
    story = Story()
    story.history.add(LeaseCall(1, 1, "grant", "m1", 0, 1, Outcome.OK, 60))
    assert not lock_problems(hold(1, 2, released=10), hold(2, 3, acquired=20), story=story)
    story.history.locks.clear()
    story.history.add(LeaseCall(1, 1, "revoke", "m1", 10, 11, Outcome.OK))
    assert not lock_problems(hold(1, 2), hold(2, 3, acquired=20), story=story)
