"""Watches: in order, once, whole, without a gap, also across breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.chaos.checks import watches
from cluster.chaos.checks.verdict import Verdict

from .story import Story


@pytest.fixture
def story() -> Story:
    """Revisions 2 to 6: a, b, then x and y in one txn, c, and a delete."""
    story = Story()
    story.change("k/a", "1")
    story.change("k/b", "2")
    story.together({"k/x": "3", "k/y": "3"})
    story.change("k/a", "4")
    story.change("k/b", None)
    return story


def verdict(story: Story) -> Verdict:
    return watches.check(story.end())


def what(story: Story) -> str:
    found = verdict(story)
    assert not found.holds
    return found.problems[0].what


# --- right watches -------------------------------------------------------------------------------


def test_all_events_in_order_hold(story: Story) -> None:
    story.created(1)
    story.events(*story.changes[:2])
    story.events(*story.changes[2:4])
    story.events(*story.changes[4:])
    found = verdict(story)
    assert found.holds
    assert found.checked == 4
    assert "1 watchers, 6 events" in found.summary


def test_a_watch_may_begin_in_the_middle_and_end_anywhere(story: Story) -> None:
    story.created(4)
    story.events(*story.changes[2:4])
    assert verdict(story).holds


def test_a_watch_from_now_begins_with_the_first_event_it_receives(story: Story) -> None:
    story.created(0)
    story.events(story.changes[4])
    assert verdict(story).holds


def test_a_broken_watch_goes_on_behind_what_it_saw(story: Story) -> None:
    story.created(2)
    story.events(*story.changes[:2])
    story.message("broken", 0)
    story.created(4, endpoint="m2")
    story.events(*story.changes[2:], endpoint="m2")
    assert verdict(story).holds


def test_a_watch_may_go_on_behind_what_progress_promised(story: Story) -> None:
    story.created(2, prefix="k/a")
    story.events(story.changes[0])
    story.message("progress", 4)
    story.message("broken", 0)
    story.created(5)
    story.events(story.changes[4])
    assert verdict(story).holds


def test_a_watch_that_was_cancelled_may_begin_anew(story: Story) -> None:
    story.created(2)
    story.message("canceled", 0)
    story.created(5)
    story.events(*story.changes[4:])
    assert verdict(story).holds


def test_events_outside_the_prefix_are_not_missed(story: Story) -> None:
    story.created(2, prefix="k/b")
    story.events(story.changes[1])
    story.events(story.changes[5])
    assert verdict(story).holds


def test_two_watchers_are_followed_each_by_itself(story: Story) -> None:
    story.created(2, watcher="one")
    story.created(2, watcher="two")
    story.events(*story.changes, watcher="one")
    story.events(*story.changes, watcher="two")
    assert verdict(story).holds


# --- wrong watches -------------------------------------------------------------------------------


def test_a_gap_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0])
    story.events(*story.changes[2:4])
    assert what(story) == "watcher w is told of revision 4 with 1 changes after revision 2 left out"


def test_a_gap_at_the_beginning_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[1])
    assert "left out" in what(story)


def test_a_gap_over_a_break_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0])
    story.message("broken", 0)
    story.created(3)
    story.events(*story.changes[2:4])
    assert "left out" in what(story)


def test_a_watch_that_goes_on_too_late_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0])
    story.message("broken", 0)
    story.created(4)
    assert "does not go on where it was" in what(story)


def test_an_event_twice_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0])
    story.events(story.changes[0])
    assert "again or out of order" in what(story)


def test_an_event_repeated_after_a_break_is_found(story: Story) -> None:
    story.created(2)
    story.events(*story.changes[:2])
    story.message("broken", 0)
    story.created(4)
    story.events(story.changes[1])
    assert "again or out of order" in what(story)


def test_events_out_of_order_are_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[1], story.changes[0])
    found = verdict(story)
    assert any("out of order" in problem.what for problem in found.problems)


def test_a_revision_in_two_messages_is_found(story: Story) -> None:
    story.created(4)
    story.events(story.changes[2])
    story.events(story.changes[3])
    found = verdict(story)
    assert [problem.what for problem in found.problems] == [
        "watcher w hears only part of revision 4 in one message",
        "watcher w hears revision 4 in two parts",
    ]


def test_half_a_revision_is_found(story: Story) -> None:
    story.created(4)
    story.events(story.changes[3])
    assert what(story) == "watcher w hears only part of revision 4 in one message"


def test_a_key_twice_in_one_revision_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0], story.changes[0])
    assert what(story) == "watcher w hears a key twice in revision 2"


@pytest.mark.parametrize(
    "wrong",
    [{"value": "other"}, {"value": None}, {"create_revision": 9}, {"version": 9}, {"key": "k/z"}],
)
def test_an_event_that_is_not_what_happened_is_found(
    story: Story, wrong: dict[str, object]
) -> None:
    story.created(2)
    story.events(replace(story.changes[0], **wrong))  # type: ignore[arg-type]
    assert not verdict(story).holds


def test_an_event_behind_the_end_of_the_history_is_found(story: Story) -> None:
    story.created(2)
    story.events(*story.changes)
    story.events(replace(story.changes[0], mod_revision=7))
    assert "the history of m1 ends at 6" in what(story)


def test_progress_ahead_of_events_is_found(story: Story) -> None:
    story.created(2)
    story.events(story.changes[0])
    story.message("progress", 3)
    assert what(story) == "watcher w is promised all up to 3 with 1 changes left out"


def test_an_event_that_progress_had_ruled_out_is_found(story: Story) -> None:
    story.created(0)
    story.message("progress", 5)
    story.events(story.changes[4])
    assert "after progress promised all up to 5" in what(story)


def test_the_counterexample_shows_message_and_what_was_missed(story: Story) -> None:
    story.created(2)
    story.events(story.changes[1], at=1.5, endpoint="m3")
    assert verdict(story).problems[0].evidence == (
        "[1.500000 s] events from m3, revision 6, 1 changes",
        'missed: k/a = "1" at revision 2 (created at 2, version 1)',
    )


def test_without_a_final_history_gaps_are_undecided_and_order_is_checked(story: Story) -> None:
    story.created(2)
    story.events(*story.changes)
    assert watches.check(story.history).undecided
    story.events(story.changes[0])
    assert not watches.check(story.history).undecided
