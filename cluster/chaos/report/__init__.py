"""The report of a run: a page (report.html) and its figures (report.json).

`numbers` measures the history, `plots` draws it, `page.html` arranges both around the verdicts.
The page contains its scripts and styles.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from ..checks import Verdict
from ..history import History
from . import plots
from .numbers import Numbers, measure

__all__ = ["write"]


def write(history: History, verdicts: list[Verdict], directory: Path) -> Path:
    """Write report.html and report.json in `directory`, which is created; return the page's
    path.
    """
    directory.mkdir(parents=True, exist_ok=True)
    numbers = measure(history)
    facts = _facts(history, verdicts, numbers)
    (directory / "report.json").write_text(json.dumps(facts, indent=1) + "\n")
    page = directory / "report.html"
    page.write_text(_page(history, verdicts, numbers), encoding="utf-8")
    return page


def _facts(history: History, verdicts: list[Verdict], numbers: Numbers) -> dict[str, Any]:
    measured = asdict(numbers)
    faults = [{**one.pop("fault"), "outage": one} for one in measured.pop("outages")]
    return {
        "holds": all(verdict.holds for verdict in verdicts),
        "about": history.about,
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "faults": faults,
        **measured,
    }


def _page(history: History, verdicts: list[Verdict], numbers: Numbers) -> str:
    environment = Environment(
        loader=PackageLoader(__name__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ms"] = _milliseconds
    environment.filters["setting"] = _setting
    figures = {"timeline": plots.timeline(numbers)}
    if numbers.outages:
        figures["outages"] = plots.outages(numbers)
    return environment.get_template("page.html").render(
        about=history.about,
        verdicts=verdicts,
        broken=[verdict for verdict in verdicts if not verdict.holds],
        numbers=numbers,
        figures={name: _script(figure) for name, figure in figures.items()},
        plotly=Markup(get_plotlyjs()),
    )


def _script(figure: plots.Figure) -> Markup:
    """Return a figure as JSON that is safe inside a script element."""
    text = json.dumps(figure, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _milliseconds(value: float | None) -> str:
    """Format with two or three digits: 3.1 ms, 310 ms, 3.1 s."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
