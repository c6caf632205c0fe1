"""The live view in a terminal, and its plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from cluster.chaos.progress import Progress


def run(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with Progress("three members [seed 7]", seconds=60, console=console) as progress:
        progress.fault("pause", ["m1"], active=True)
        progress.fault("kill", ("m2", "m3"), active=True)
        progress.status(ops_ok=1234, ops_failed=5, ops_unknown=6, rate=789.0, leader="m2")
        progress.fault("pause", ["m1"], active=False)
        progress.log("a line [with brackets]")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_thing_is_one_plain_line() -> None:
    lines = [line[11:] for line in run(terminal=False).splitlines()]
    status = "1,234 ok, 5 failed, 6 unknown; 789/s; leader m2; 2 faults, now: "
    assert lines == [
        "three members [seed 7]",
        "✗ pause m1",
        "✗ kill m2, m3",
        f"{status}pause m1; kill m2,m3",
        "✓ pause m1",
        "a line [with brackets]",
        f"{status}kill m2,m3",
    ]


def test_in_a_terminal_the_view_shows_numbers_faults_and_log() -> None:
    text = run(terminal=True)
    for fact in ("three members [seed 7]", "1,234 ok", "leader m2", "789/s", "2 faults so far"):
        assert fact in text
    assert "kill m2, m3" in text
    assert "a line [with brackets]" in text


def test_status_lines_are_not_more_frequent_than_can_be_read() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with Progress("run", console=console) as progress:
        for number in range(100):
            progress.status(number, 0, 0, 1.0, "")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) < 10
    assert "99 ok" in lines[-1]
    assert "leader none" in lines[-1]
