"""The live view in a terminal, drawn by rich. Keys: q ends, p pauses.

A thread asks the members, so that keys act at once also while a member does not answer.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rusd.ctl.gateway import CallError

from ..text import printable
from .plain import TITLES, cells, summary
from .rates import View

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError as _missing:
    raise CallError(
        "the live view needs the package rich: pip install 'rusd[tools]' "
        "(--once and --json do without)"
    ) from _missing

#: Seconds until a key is looked for again.
_KEYS: Final = 0.1
_STYLES: Final = {"leader": "bold green", "away": "bold red", "no leader": "bold red"}


def show(take: Callable[[], View], interval: float) -> int:
    """Draw until `q`, Ctrl-C or the end of the input; return the exit code."""
    state = _State(take, interval)
    threading.Thread(target=state.run, daemon=True).start()
    console = Console()
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            for key in pressed():
                if key in ("q", "Q", "\x03", "\x04"):
                    break
                if key in ("p", "P", " "):
                    state.paused.set() if not state.paused.is_set() else state.paused.clear()
                live.update(_drawn(state, console.width), refresh=True)
        except KeyboardInterrupt:
            pass
        finally:
            state.ended.set()
    return 0


class _State:
    """The last view, made anew by a thread."""

    def __init__(self, take: Callable[[], View], interval: float) -> None:
        self._take = take
        self._interval = interval
        self.view: View | None = None
        self.paused = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            begun = time.monotonic()
            if not self.paused.is_set():
                self.view = self._take()
            self.ended.wait(max(self._interval - (time.monotonic() - begun), 0.05))


def _drawn(state: _State, width: int) -> Group:
    foot = "q quit   p " + ("go on   PAUSED" if state.paused.is_set() else "pause")
    if state.view is None:
        return Group(Text("asking the members …"), Text(foot, style="dim"))
    view = state.view
    bad = view.away or view.alarms or not view.leader
    head = Text(summary(view), style="bold red" if bad else "bold")
    parts: list[Text | Table] = [head, Text("")]
    # A narrow terminal shows the figures in two tables below one another.
    spans = [range(2, len(TITLES))] if width >= 150 else [range(2, 9), range(9, len(TITLES))]
    for columns in spans:
        parts += [_table(view, columns), Text("")]
    for row in view.rows:
        if row.error:
            told = f"{row.name or row.url}: {row.error}"
            parts.append(Text(printable(told), style="red"))
    return Group(*parts, Text(foot, style="dim"))


def _table(view: View, columns: range) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    for title in TITLES[:2]:
        table.add_column(title, no_wrap=True)
    for number in columns:
        table.add_column(TITLES[number], justify="right", no_wrap=True)
    for row in view.rows:
        texts = cells(row)
        if row.role == "away":
            texts[2] = ""
        shown = [Text(text) for text in (*texts[:2], *(texts[number] for number in columns))]
        table.add_row(*shown, style=_STYLES.get(row.role, ""))
    return table


@contextmanager
def _keys() -> Iterator[Callable[[], Iterator[str]]]:
    """Let keys come without Enter and unseen; restores the terminal."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)

    def pressed() -> Iterator[str]:
        while True:
            ready, _, _ = select.select([number], [], [], _KEYS)
            key = ""
            if ready:
                data = os.read(number, 1)
                if not data:  # the terminal is gone
                    return
                key = data.decode(errors="replace")
            yield key

    try:
        yield pressed
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
