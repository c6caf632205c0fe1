"""All checks together, on a history as it is kept in a file."""

from __future__ import annotations

from pathlib import Path

from cluster.chaos.checks import CHECKS, judge
from cluster.chaos.checks.verdict import SHOWN
from cluster.chaos.history import History

from .story import Story


def test_a_right_history_holds_in_every_respect(tmp_path: Path) -> None:
    story = Story()
    story.created(1)
    story.write("k", "a", 0, 1)
    story.events(*story.changes, at=1)
    story.read("k", "a", 2, 3)
    story.end().save(tmp_path / "history.jsonl")
    verdicts = judge(History.load(tmp_path / "history.jsonl"))
    assert len(verdicts) == len(CHECKS)
    assert all(verdict.holds for verdict in verdicts)
    assert len({verdict.name for verdict in verdicts}) == len(CHECKS)


def test_an_empty_history_holds() -> None:
    assert all(verdict.holds for verdict in judge(History()))


def test_a_lost_write_shows_in_several_verdicts() -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    story.read("k", None, 2, 3)
    history = story.end(changes=(), keys={})
    wrong = {verdict.name for verdict in judge(history) if not verdict.holds}
    assert wrong == {"linearizable", "acknowledged writes"}


def test_many_problems_are_counted_and_some_are_shown() -> None:
    story = Story()
    for number in range(100):
        story.write("k", str(number), number, number + 0.5)
    history = story.end(changes=(), keys={})
    (verdict,) = (one for one in judge(history) if one.name == "acknowledged writes")
    assert len(verdict.problems) == SHOWN
    assert "100 problems" in verdict.summary
