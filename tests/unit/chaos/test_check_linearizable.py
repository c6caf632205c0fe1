"""Linearizability of each key: what is accepted, what is not, and what a person is told."""

from __future__ import annotations

from cluster.chaos.checks import linearizable
from cluster.chaos.checks.verdict import Verdict
from cluster.chaos.history import Action, LeaseCall, Outcome

from .story import Story


def verdict(story: Story) -> Verdict:
    return linearizable.check(story.history)


def lines(found: Verdict) -> str:
    return "\n".join(line for problem in found.problems for line in problem.evidence)


# --- right histories -----------------------------------------------------------------------------


def test_an_empty_history_holds() -> None:
    assert verdict(Story()).holds


def test_calls_one_after_another_hold() -> None:
    story = Story()
    story.read("k", None, 0, 1)
    story.write("k", "a", 2, 3)
    story.swap("k", "a", "b", 4, 5)
    story.refused("k", "a", "c", 6, 7)
    story.read("k", "b", 8, 9)
    story.delete("k", 10, 11)
    story.read("k", None, 12, 13)
    found = verdict(story)
    assert found.holds
    assert found.checked == 7


def test_concurrent_writes_may_come_in_either_order() -> None:
    story = Story()
    story.write("k", "a", 0, 10)
    story.write("k", "b", 0, 10)
    story.read("k", "a", 11, 12)
    assert verdict(story).holds


def test_a_read_during_a_write_may_see_it_or_not() -> None:
    story = Story()
    story.write("k", "a", 0, 10)
    story.read("k", None, 1, 2)
    story.read("k", "a", 3, 4)
    assert verdict(story).holds


def test_calls_that_touch_in_time_are_concurrent() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.read("k", None, 1, 2)
    assert verdict(story).holds


def test_an_unknown_write_may_take_effect_much_later() -> None:
    story = Story()
    story.unknown(Action.WRITE, "k", 0, argument="late")
    story.write("k", "a", 1, 2)
    story.read("k", "a", 3, 4)
    story.read("k", "late", 100, 101)
    assert verdict(story).holds


def test_an_unknown_write_may_never_take_effect() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 2, argument="never")
    story.read("k", "a", 100, 101)
    assert verdict(story).holds


def test_a_chain_of_unknown_swaps_explains_what_is_read_at_its_end() -> None:
    story = Story()
    story.unknown(Action.CAS, "k", 0, expected=None, argument="1")
    story.unknown(Action.CAS, "k", 1, expected="1", argument="1 2")
    story.unknown(Action.CAS, "k", 2, expected="1 2", argument="1 2 3")
    story.read("k", "1 2 3", 5, 6)
    assert verdict(story).holds


def test_a_refused_swap_may_be_due_to_an_unknown_delete() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.unknown(Action.DELETE, "k", 2)
    story.refused("k", "a", "b", 3, 4)
    assert verdict(story).holds


def test_serializable_reads_are_judged_elsewhere() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.read("k", None, 2, 3, serializable=True, revision=1)
    assert verdict(story).holds


def test_unknown_reads_and_failed_calls_say_nothing() -> None:
    story = Story()
    story.failed(Action.WRITE, "k", 0, 1, argument="a")
    story.unknown(Action.READ, "k", 2)
    story.read("k", None, 3, 4)
    assert verdict(story).holds


def test_a_refused_txn_over_two_keys_does_not_tell_which_comparison_failed() -> None:
    story = Story()
    story.write("x", "a", 0, 1)
    story.refused("x", "a", "b", 2, 3, group=1)
    story.refused("y", "a", "b", 2, 3, group=1)
    assert verdict(story).holds


def test_a_key_may_vanish_with_its_lease() -> None:
    story = Story()
    story.history.add(LeaseCall(0, 7, "grant", "m1", 0, 1, Outcome.OK, 5, "k"))
    story.write("k", "a", 2, 3)
    story.read("k", None, 20, 21)
    assert verdict(story).holds


# --- wrong histories -----------------------------------------------------------------------------


def test_a_stale_read_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    story.read("k", "a", 4, 5)
    assert not verdict(story).holds


def test_a_lost_write_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.read("k", None, 2, 3)
    assert not verdict(story).holds


def test_a_read_of_a_value_that_was_never_written_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.read("k", "ghost", 2, 3)
    found = verdict(story)
    assert not found.holds
    assert 'No call wrote "ghost"' in lines(found)


def test_a_read_of_a_failed_write_is_found() -> None:
    story = Story()
    story.failed(Action.WRITE, "k", 0, 1, argument="a")
    story.read("k", "a", 2, 3)
    assert not verdict(story).holds


def test_a_read_from_the_future_is_found() -> None:
    story = Story()
    story.read("k", "a", 0, 1)
    story.write("k", "a", 2, 3)
    assert "only later" in lines(verdict(story))


def test_two_readers_that_see_two_writes_in_opposite_orders_are_found() -> None:
    story = Story()
    story.write("k", "a", 0, 20)
    story.write("k", "b", 0, 20)
    story.read("k", "a", 1, 2)
    story.read("k", "b", 3, 4)
    story.read("k", "a", 5, 6)
    assert not verdict(story).holds


def test_a_split_brain_that_lets_two_swap_the_same_value_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.swap("k", "a", "b", 2, 10)
    story.swap("k", "a", "c", 2, 10)
    assert not verdict(story).holds


def test_a_deleted_value_that_comes_back_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.delete("k", 2, 3)
    story.read("k", "a", 4, 5)
    assert not verdict(story).holds


def test_an_unknown_write_that_took_effect_and_was_undone_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 2, argument="b")
    story.read("k", "b", 3, 4)
    story.read("k", "a", 5, 6)
    assert not verdict(story).holds


def test_an_unknown_write_takes_effect_once_only() -> None:
    story = Story()
    story.unknown(Action.WRITE, "k", 0, argument="b")
    story.read("k", "b", 3, 4)
    story.write("k", "a", 5, 6)
    story.read("k", "b", 7, 8)
    assert not verdict(story).holds


def test_a_write_has_no_effect_before_it_was_asked_for() -> None:
    story = Story()
    story.read("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 2, argument="a")
    assert not verdict(story).holds


def test_a_refused_swap_that_had_found_what_it_expects_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.refused("k", "a", "b", 2, 3)
    assert not verdict(story).holds


def test_a_lease_ends_once_only() -> None:
    story = Story()
    story.history.add(LeaseCall(0, 7, "grant", "m1", 0, 1, Outcome.OK, 5, "k"))
    story.write("k", "a", 2, 3)
    story.read("k", None, 20, 21)
    story.write("k", "b", 22, 23)
    story.read("k", None, 24, 25)
    assert not verdict(story).holds


def test_a_wrong_key_does_not_hide_behind_right_ones() -> None:
    story = Story()
    for number in range(20):
        story.write(f"k{number}", "a", number, number + 0.5)
    story.read("k7", None, 30, 31)
    found = verdict(story)
    assert [problem.what.split(":")[0] for problem in found.problems] == ["key k7"]


# --- what a person is told -----------------------------------------------------------------------


def test_the_counterexample_names_the_read_its_writer_and_what_came_between() -> None:
    story = Story()
    story.write("k", "a", 0, 1, client=1)
    story.write("k", "b", 2, 3, client=2, endpoint="m2")
    story.read("k", "a", 4, 5, client=3, endpoint="m3")
    story.write("k", "c", 6, 7)
    found = verdict(story)
    assert found.problems[0].what == "key k: no order explains all answers up to 5.000000 s"
    assert found.problems[0].evidence == (
        "The longest order, of all calls answered before then, ends with:",
        '  1. [0.000000 to 1.000000 s] client 1 at m1: k: write "a" (revision 2)',
        '  2. [2.000000 to 3.000000 s] client 2 at m2: k: write "b" (revision 3)',
        "With this answer too, neither that order nor any other is possible:",
        '  [4.000000 to 5.000000 s] client 3 at m3: k: read → "a" (revision 3)',
        '    That was written by: [0.000000 to 1.000000 s] client 1 at m1: k: write "a" '
        "(revision 2)",
        '    and overwritten by: [2.000000 to 3.000000 s] client 2 at m2: k: write "b" '
        "(revision 3)",
    )


def test_calls_that_may_still_have_taken_effect_are_listed() -> None:
    story = Story()
    story.unknown(Action.WRITE, "k", 0, argument="maybe", client=9)
    story.read("k", "ghost", 1, 2)
    assert 'client 9 at m1: k: write "maybe"' in lines(verdict(story))


def test_a_search_that_gives_up_is_undecided_and_does_not_hold() -> None:
    story = Story()
    for number in range(10):
        story.write("k", str(number), number, number + 0.5)
    found = linearizable.check(story.history, budget=5)
    assert found.undecided
    assert not found.holds
    assert "no answer within 5 states for 1 of 1 keys: k" in found.summary


def test_the_first_wrong_answer_is_named_though_later_ones_are_wrong_too() -> None:
    story = Story()
    for number in range(1000):
        story.write("k", str(number), number, number + 0.3)
        story.read("k", "0" if number > 700 else str(number), number + 0.4, number + 0.5)
    found = verdict(story)
    assert found.problems[0].what == "key k: no order explains all answers up to 701.500000 s"
