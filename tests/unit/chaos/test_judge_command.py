"""`python -m cluster.chaos.judge`: a kept history is judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.chaos.judge import main

from .story import Story


def kept(story: Story, directory: Path) -> str:
    path = directory / "history.jsonl"
    story.end().save(path)
    return str(path)


def test_a_right_history_ends_with_status_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    assert main([kept(story, tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "holds  linearizable  1 calls checked" in text
    assert "BROKEN" not in text


def test_a_wrong_history_ends_with_status_1_and_its_counterexample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.write("k", "[bold]a[/bold]", 0, 1)
    story.read("k", "ghost", 2, 3)
    assert main([kept(story, tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "BROKEN  linearizable" in text
    assert 'No call wrote "ghost".' in text
    assert "[bold]a[/bold]" in text


def test_a_report_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    story = Story()
    story.write("k", "a", 0, 1)
    assert main([kept(story, tmp_path), "--report", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.json"}


def test_a_file_that_is_no_history_ends_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_text('{"record": "Nonsense"}\n')
    assert main([str(tmp_path / "other")]) == 2
    assert "line 1" in capsys.readouterr().err
    assert main([str(tmp_path / "missing")]) == 2
