"""Acknowledged writes are in the final history, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

from cluster.chaos.checks import acknowledged
from cluster.chaos.checks.verdict import Verdict
from cluster.chaos.history import Action, Change, History, LeaseCall, LockHold, Outcome

from .story import Story


def verdict(history: History) -> Verdict:
    return acknowledged.check(history)


def whats(history: History) -> list[str]:
    return [problem.what for problem in verdict(history).problems]


def test_writes_that_are_there_hold() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.swap("k", "a", "b", 2, 3)
    story.refused("k", "a", "c", 2, 3)
    story.delete("k", 4, 5)
    story.delete("k", 6, 7, revision=4)
    found = verdict(story.end())
    assert found.holds
    assert found.checked == 4


def test_unknown_writes_may_be_there_or_not() -> None:
    story = Story()
    story.unknown(Action.WRITE, "k", 0, argument="never")
    story.unknown(Action.WRITE, "k", 1, argument="late")
    story.unknown(Action.DELETE, "k", 2)
    story.change("k", "late")
    story.change("k", None)
    assert verdict(story.end()).holds


def test_a_lost_write_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    history = story.end(changes=tuple(story.changes[:1]))
    assert whats(history) == ["key k: an acknowledged write is not in the final history"]


def test_a_write_behind_the_end_of_the_history_is_lost() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    history = story.end(changes=tuple(story.changes[:1]), revision=2)
    assert "an acknowledged write is lost" in whats(history)[0]


def test_a_write_with_another_value_at_its_revision_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    history = story.end(changes=(replace(story.changes[0], value="b"),))
    assert "key k: an acknowledged write is not in the final history" in whats(history)


def test_reordered_writes_are_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    first, second = story.changes
    history = story.end(changes=(replace(first, value="b"), replace(second, value="a")))
    assert len(whats(history)) == 2


def test_a_lost_delete_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.delete("k", 2, 3)
    history = story.end(changes=tuple(story.changes[:1]))
    assert whats(history) == ["key k: an acknowledged delete is not in the final history"]


def test_a_write_applied_twice_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.change("k", "a")
    assert whats(story.end()) == ['key k: "a" was applied more often than asked for (1 times)']


def test_an_unknown_write_applied_twice_is_found() -> None:
    story = Story()
    story.unknown(Action.WRITE, "k", 0, argument="a")
    story.change("k", "a")
    story.change("k", "a")
    assert not verdict(story.end()).holds


def test_a_value_asked_for_twice_may_be_there_twice() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 2, argument="a")
    story.change("k", "a")
    assert verdict(story.end()).holds


def test_a_failed_write_that_took_effect_is_found() -> None:
    story = Story()
    story.failed(Action.WRITE, "k", 0, 1, argument="a")
    story.change("k", "a")
    assert whats(story.end()) == ['key k: "a" is in the final history, though the call had failed']


def test_a_refused_swap_that_took_effect_is_found() -> None:
    story = Story()
    story.refused("k", "x", "a", 0, 1)
    story.change("k", "a")
    assert not verdict(story.end()).holds


def test_a_refused_txn_that_took_effect_is_found() -> None:
    story = Story()
    story.refused("x", "x", "a", 0, 1, group=1)
    story.write("y", "b", 0, 1, group=1)
    history = story.end()
    assert whats(history) == ['key y: "b" is in the final history, and nobody asked for it']


def test_a_value_without_a_call_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.change("k", "ghost")
    assert whats(story.end()) == ['key k: "ghost" is in the final history, and nobody asked for it']


def test_a_delete_without_a_call_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.change("k", None)
    assert not verdict(story.end()).holds


def test_a_delete_by_the_end_of_a_lease_was_asked_for() -> None:
    story = Story()
    story.history.add(LeaseCall(0, 7, "grant", "m1", 0, 1, Outcome.OK, 5, "k"))
    story.write("k", "a", 0, 1)
    story.change("k", None)
    assert verdict(story.end()).holds


def test_a_key_that_no_call_named_is_found() -> None:
    story = Story()
    story.change("ghost", "a")
    assert whats(story.end()) == ["key ghost is in the final history, and no call named it"]


def test_keys_of_locks_and_unrecorded_ones_need_no_call() -> None:
    story = Story()
    story.change("lock/1", "")
    story.change("warm-up/1", "")
    story.history.add(LockHold(0, "lock", 1, 2, 0, None))
    story.history.about["unrecorded"] = ["warm-up/"]
    assert verdict(story.end()).holds


def test_writes_that_were_compacted_away_are_not_missed() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    story.write("k", "c", 4, 5)
    history = story.end(changes=tuple(story.changes[2:]), compact_revision=3)
    assert verdict(history).holds


def test_a_write_without_a_revision_is_looked_for_by_its_value() -> None:
    story = Story()
    story.write("k", "a", 0, 1, revision=0)
    assert not verdict(story.end()).holds
    story.change("k", "a")
    story.history.finals.clear()
    assert verdict(story.end()).holds


def test_without_a_final_history_nothing_is_decided() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    found = verdict(story.history)
    assert found.undecided
    assert not found.holds


def test_the_counterexample_shows_what_is_there_instead() -> None:
    story = Story()
    story.write("k", "a", 0, 1, client=4)
    story.unknown(Action.WRITE, "other", 0, argument="b")
    history = story.end(changes=(Change("other", "b", 2), Change("k", "a", 3)), revision=3)
    assert verdict(history).problems[0].evidence == (
        '[0.000000 to 1.000000 s] client 4 at m1: k: write "a" (revision 2)',
        'At revision 2 there is: other = "b" at revision 2',
        'The value is there at another revision: k = "a" at revision 3',
    )
