"""The bar of work that takes long."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from rusd.utl import progress
from rusd.utl.download import Progress


class Terminal(io.StringIO):
    """A terminal that tells when something was drawn on it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.drawn.set()


def drawn(monkeypatch: pytest.MonkeyPatch, part: Callable[[], float] | None) -> str:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.bar(part):
        assert terminal.drawn.wait(10)
    return terminal.getvalue()


def test_a_share_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, lambda: 0.5)
    assert f"[{'#' * 20}{' ' * 20}]  50%" in text
    assert text.rsplit("\r", 1)[1] == ""


def test_work_of_unknown_length_shows_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "<=>" in drawn(monkeypatch, None)


def test_the_mark_stays_within_the_bar() -> None:
    shown = {progress._moving(tenth / 10) for tenth in range(300)}
    assert {text.index("]") for text in shown} == {41}
    assert {text.count("<=>") for text in shown} == {1}


def test_nothing_is_drawn_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.bar(None):
        pass
    assert output.getvalue() == ""


def test_a_download_counts_what_came_and_what_is_to_come() -> None:
    came = Progress()
    assert came.part() == 0.0
    came.came(30, 90)
    assert came.part() == 0.25
    came.came(90, 0)
    assert came.part() == 1.0
