"""Revisions go with time, answers fit their revision, txns are whole, members end alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.chaos.checks import answers, atomic, members, realtime
from cluster.chaos.history import Action, Change

from .story import MEMBERS, Story

# --- revisions in real time -----------------------------------------------------------------------


def test_revisions_that_go_with_time_hold() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("other", "b", 2, 3)
    story.read("k", "a", 4, 5)
    found = realtime.check(story.end())
    assert found.holds
    assert found.checked == 3


def test_concurrent_writes_may_get_revisions_in_either_order() -> None:
    story = Story()
    story.write("k", "a", 0, 10, revision=3)
    story.write("k", "b", 1, 11, revision=2)
    assert realtime.check(story.history).holds


def test_a_write_below_an_earlier_one_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1, revision=3)
    story.write("other", "b", 2, 3, revision=2)
    found = realtime.check(story.history)
    assert found.problems[0].what == (
        "a write was answered at revision 2, though revision 3 had been answered before it began"
    )


def test_a_read_of_another_key_behind_an_earlier_write_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1, revision=3)
    story.read("other", None, 2, 3, revision=2)
    assert not realtime.check(story.history).holds


def test_a_serializable_read_may_be_behind_but_nothing_after_it_may_be() -> None:
    story = Story()
    story.write("k", "a", 0, 1, revision=9)
    story.read("k", None, 2, 3, revision=5, serializable=True)
    assert realtime.check(story.history).holds
    story.read("k", None, 4, 5, revision=12, serializable=True)
    story.read("k", "a", 6, 7, revision=11)
    assert not realtime.check(story.history).holds


def test_a_write_gets_a_revision_of_its_own() -> None:
    story = Story()
    story.write("k", "a", 0, 10, revision=2)
    story.write("other", "b", 0, 10, revision=2)
    assert realtime.check(story.history).problems[0].what == "two writes were given revision 2"


def test_a_write_at_the_revision_of_an_earlier_read_is_found() -> None:
    story = Story()
    story.read("k", None, 0, 1, revision=2)
    story.write("k", "a", 2, 3, revision=2)
    assert not realtime.check(story.history).holds


def test_deletes_that_found_nothing_and_refused_swaps_share_a_revision_with_others() -> None:
    story = Story()
    story.write("k", "a", 0, 1, revision=2)
    story.delete("other", 2, 3, revision=2)
    story.refused("k", "x", "y", 4, 5, revision=2)
    assert realtime.check(story.history).holds


def test_a_read_behind_what_a_watcher_had_heard_is_found() -> None:
    story = Story()
    story.events(Change("k", "a", 5), at=1)
    story.read("k", None, 2, 3, revision=4)
    assert "watcher w" in realtime.check(story.history).problems[0].evidence[0]


def test_an_unknown_write_that_is_older_than_its_call_is_found() -> None:
    story = Story()
    story.change("k", "late")
    story.write("k", "a", 0, 1)
    story.unknown(Action.WRITE, "k", 2, argument="late")
    assert realtime.check(story.end()).problems[0].what == (
        "a write took effect at revision 2 before it was asked for"
    )


# --- answers --------------------------------------------------------------------------------------


def told() -> Story:
    """Revisions 2, 3, 4: a, b, deleted."""
    story = Story()
    story.write("k", "a", 0, 1)
    story.write("k", "b", 2, 3)
    story.delete("k", 4, 5)
    return story


@pytest.mark.parametrize(("revision", "value"), [(1, None), (2, "a"), (3, "b"), (4, None)])
def test_a_serializable_read_may_show_any_one_revision(revision: int, value: str | None) -> None:
    story = told()
    story.read("k", value, 9, 10, serializable=True, revision=revision)
    assert answers.check(story.end()).holds


@pytest.mark.parametrize("serializable", [True, False])
@pytest.mark.parametrize(("revision", "value"), [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (3, None)])
def test_a_read_that_does_not_fit_its_revision_is_found(
    revision: int, value: str | None, serializable: bool
) -> None:
    story = told()
    story.read("k", value, 9, 10, serializable=serializable, revision=revision)
    assert not answers.check(story.end()).holds


def test_a_read_with_another_place_in_history_is_found() -> None:
    for wrong in ({"mod_revision": 2}, {"version": 3}):
        story = told()
        story.read("k", "b", 9, 10, revision=3, **wrong)
        assert not answers.check(story.end()).holds
    story = told()
    story.read("k", "b", 9, 10, revision=3, mod_revision=3, version=2)
    assert answers.check(story.end()).holds


def test_a_read_at_a_revision_that_never_came_is_found() -> None:
    story = told()
    story.read("k", None, 9, 10, serializable=True, revision=5)
    assert "the history of m1 ends at 4" in answers.check(story.end()).problems[0].what


def test_a_read_without_revision_must_show_a_value_the_key_had() -> None:
    story = told()
    story.read("k", "b", 9, 10, serializable=True, revision=0)
    assert answers.check(story.end()).holds
    story.read("k", "ghost", 9, 10, serializable=True, revision=0)
    assert not answers.check(story.history).holds


def test_a_swap_that_did_not_find_what_it_expected_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.swap("k", "a", "b", 2, 3)
    assert answers.check(story.end()).holds
    story = Story()
    story.write("k", "a", 0, 1)
    story.swap("k", "x", "b", 2, 3)
    assert not answers.check(story.end()).holds


def test_a_refused_swap_that_had_found_it_is_found() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.refused("k", "a", "b", 2, 3)
    assert not answers.check(story.end()).holds


def test_reads_before_the_compaction_are_not_judged() -> None:
    story = told()
    story.read("k", "ghost", 9, 10, serializable=True, revision=1)
    assert answers.check(story.end(compact_revision=2)).holds


# --- txns over several keys -----------------------------------------------------------------------


def pair(story: Story, **fields: object) -> None:
    """A txn that sets x and y."""
    revision = story.together({"x": "1", "y": "1"})
    for key in ("x", "y"):
        story.swap(key, None, "1", 0, 1, **{"group": 1, "revision": revision, **fields})


def test_a_whole_txn_holds() -> None:
    story = Story()
    pair(story)
    found = atomic.check(story.end())
    assert found.holds
    assert found.checked == 1
    assert realtime.check(story.history).holds


def test_parts_with_different_revisions_are_found() -> None:
    story = Story()
    story.write("x", "1", 0, 1, group=1)
    story.write("y", "1", 0, 1, group=1)
    assert "different revisions" in atomic.check(story.end()).problems[0].what


def test_a_half_applied_unknown_txn_is_found() -> None:
    story = Story()
    story.unknown(Action.WRITE, "x", 0, argument="1", group=1)
    story.unknown(Action.WRITE, "y", 0, argument="1", group=1)
    story.change("x", "1")
    found = atomic.check(story.end())
    assert "took effect in part" in found.problems[0].what
    assert found.problems[0].evidence[-1] == "y: not in the history"


def test_an_unknown_txn_may_be_there_as_a_whole_or_not_at_all() -> None:
    for there in (True, False):
        story = Story()
        story.unknown(Action.WRITE, "x", 0, argument="1", group=1)
        story.unknown(Action.WRITE, "y", 0, argument="1", group=1)
        if there:
            story.together({"x": "1", "y": "1"})
        assert atomic.check(story.end()).holds


def test_a_txn_refused_though_all_comparisons_held_is_found() -> None:
    story = Story()
    story.refused("x", None, "1", 0, 1, group=1)
    story.refused("y", None, "1", 0, 1, group=1)
    assert not atomic.check(story.end()).holds


def test_a_txn_refused_as_one_comparison_failed_holds() -> None:
    story = Story()
    story.write("y", "0", 0, 1)
    story.refused("x", None, "1", 2, 3, group=1)
    story.refused("y", None, "1", 2, 3, group=1)
    assert atomic.check(story.end()).holds
    assert answers.check(story.history).holds


def test_a_snapshot_of_several_keys_at_several_revisions_is_found() -> None:
    story = Story()
    story.write("x", "1", 0, 1)
    story.read("x", None, 0, 5, revision=1, group=1)
    story.read("y", None, 0, 5, revision=2, group=1)
    assert not atomic.check(story.end()).holds


def test_separate_calls_at_one_revision_are_found() -> None:
    story = Story()
    story.together({"x": "1", "y": "2"})
    story.unknown(Action.WRITE, "x", 0, argument="1")
    story.unknown(Action.WRITE, "y", 0, argument="2")
    assert "share revision 2" in atomic.check(story.end()).problems[0].what


# --- members --------------------------------------------------------------------------------------


def test_members_that_end_alike_hold() -> None:
    found = members.check(told().end())
    assert found.holds
    assert found.checked == len(MEMBERS)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"hash": 7}, "members end with different revisions or hashes"),
        ({"revision": 9}, "members end with different revisions or hashes"),
        ({"keys": {"k": ("x", 2, 1)}}, "m1 and m2 hold different keys"),
        ({"changes": ()}, "m1 and m2 tell different histories"),
    ],
)
def test_a_member_that_ends_differently_is_found(wrong: dict[str, object], what: str) -> None:
    history = told().end()
    history.finals[1] = replace(history.finals[1], **wrong)  # type: ignore[arg-type]
    assert what in [problem.what for problem in members.check(history).problems]


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 3},
        {"create_revision": 3},
        {"mod_revision": 2, "create_revision": 2},
    ],
)
def test_changes_that_do_not_follow_from_each_other_are_found(wrong: dict[str, int]) -> None:
    story = told()
    story.changes[1] = replace(story.changes[1], **wrong)
    assert not members.check(story.end()).holds


def test_keys_that_are_not_what_the_changes_left_are_found() -> None:
    history = told().end(keys={"k": ("b", 3, 2)})
    assert "a key is not what its changes left" in members.check(history).problems[0].what


def test_a_member_that_compacted_less_agrees_in_what_all_have() -> None:
    story = told()
    story.write("k", "c", 6, 7)
    history = story.end()
    last = history.finals[0]
    history.finals[0] = replace(last, compact_revision=4, changes=last.changes[3:])
    assert members.check(history).holds


def test_without_members_nothing_is_decided() -> None:
    story = told()
    assert members.check(story.history).undecided
    assert members.check(Story().history).holds
