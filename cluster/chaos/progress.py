"""Shows a running test: a live view in a terminal, plain lines elsewhere.

    with Progress("rusd, 3 members, seed 7", seconds=60) as progress:
        progress.fault("kill", ("m1",), active=True)
        progress.status(ops_ok=100, ops_failed=0, ops_unknown=1, rate=50.0, leader="m2")
        progress.log("m1 is back")
        progress.fault("kill", ("m1",), active=False)

All methods may be called from several threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

#: Last lines of the log in the live view.
_LOG_LINES = 6
#: Seconds between two status lines where there is no terminal.
_STATUS_EVERY = 5.0
#: Samples in the curve of the rate.
_SAMPLES = 60
_BARS = " ▁▂▃▄▅▆▇█"


class Progress:
    """A live view of one run. `seconds`: its expected duration (0: unknown)."""

    def __init__(self, title: str, seconds: float = 0.0, console: Console | None = None) -> None:
        self._title = title
        self._seconds = seconds
        self._console = console or Console()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._active: list[tuple[str, tuple[str, ...], float]] = []
        self._faults = 0
        self._counts = (0, 0, 0)
        self._rate = 0.0
        self._leader = ""
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._last_status = float("-inf")
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._view, console=self._console, refresh_per_second=4
            )
            self._live.start()
        else:
            self._line(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        else:
            self._line(self._summary())

    def fault(self, kind: str, targets: tuple[str, ...] | list[str], active: bool) -> None:
        """Show that a fault began or was healed."""
        named = tuple(targets)
        with self._lock:
            if active:
                self._active.append((kind, named, time.monotonic()))
                self._faults += 1
            else:
                self._active = [one for one in self._active if one[:2] != (kind, named)]
        self.log(f"{'✗' if active else '✓'} {kind} {', '.join(named)}".rstrip())

    def status(
        self, ops_ok: int, ops_failed: int, ops_unknown: int, rate: float, leader: str
    ) -> None:
        """Show calls so far by outcome, acknowledged calls per second, and the leader."""
        now = time.monotonic()
        with self._lock:
            self._counts = (ops_ok, ops_failed, ops_unknown)
            self._rate, self._leader = rate, leader
            self._rates.append(rate)
            due = now - self._last_status >= _STATUS_EVERY
            if due:
                self._last_status = now
        if due and self._live is None:
            self._line(self._summary())

    def log(self, text: str) -> None:
        with self._lock:
            self._lines.append(f"{self._elapsed():7.1f} s  {text}")
        if self._live is None:
            self._line(text)

    # --- without a terminal --------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self._console.print(
            f"{self._elapsed():7.1f} s  {text}", markup=False, highlight=False, soft_wrap=True
        )

    def _summary(self) -> str:
        ok, failed, unknown = self._counts
        text = f"{ok:,} ok, {failed:,} failed, {unknown:,} unknown; {self._rate:,.0f}/s; "
        text += f"leader {self._leader or 'none'}; {self._faults} faults"
        if self._active:
            names = (f"{kind} {','.join(targets)}".rstrip() for kind, targets, _ in self._active)
            text += f", now: {'; '.join(names)}"
        return text

    # --- with a terminal -----------------------------------------------------------------------

    def _view(self) -> RenderableType:
        with self._lock:
            return Panel(
                Group(self._clock(), self._numbers(), self._broken(), self._log()),
                title=f"[bold]{escape(self._title)}[/]",
                border_style="red" if self._active else "green",
            )

    def _clock(self) -> RenderableType:
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(ratio=1)
        row.add_column(justify="right", no_wrap=True)
        elapsed = self._elapsed()
        if self._seconds:
            bar: RenderableType = ProgressBar(self._seconds, min(elapsed, self._seconds))
            row.add_row(bar, f"{elapsed:.0f} of {self._seconds:.0f} s")
        else:
            row.add_row("", f"{elapsed:.0f} s")
        return row

    def _numbers(self) -> RenderableType:
        ok, failed, unknown = self._counts
        row = Table.grid(padding=(0, 2))
        row.add_row(
            Text.assemble((f"{ok:,}", "bold green"), " ok"),
            Text.assemble((f"{failed:,}", "bold yellow" if failed else "dim"), " failed"),
            Text.assemble((f"{unknown:,}", "bold magenta" if unknown else "dim"), " unknown"),
            Text.assemble("leader ", (self._leader or "none", "bold" if self._leader else "red")),
            Text.assemble((self._curve(), "cyan"), f" {self._rate:,.0f}/s"),
        )
        return row

    def _curve(self) -> str:
        highest = max(self._rates, default=0) or 1
        steps = len(_BARS) - 1
        return "".join(_BARS[round(steps * max(0, rate) / highest)] for rate in self._rates)

    def _broken(self) -> RenderableType:
        if not self._active:
            return Text(f"{self._faults} faults so far, none now", style="dim")
        now = time.monotonic()
        text = Text(f"{self._faults} faults so far, now:", style="red")
        for kind, targets, since in self._active:
            text.append(f"  {kind} {', '.join(targets)}".rstrip(), style="bold red")
            text.append(f" {now - since:.1f} s", style="dim red")
        return text

    def _log(self) -> RenderableType:
        return Text("\n".join(self._lines), style="dim")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
