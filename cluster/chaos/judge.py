"""Checks a saved history again.

    python -m cluster.chaos.judge history.jsonl [--report directory]

Exit status: 0 when all verdicts hold, 1 when one does not, 2 if the file is not a history.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .checks import Verdict, judge
from .history import History


def show(verdicts: Iterable[Verdict], console: Console) -> bool:
    """Print the verdicts; return whether all hold."""
    every = True
    for verdict in verdicts:
        every = every and verdict.holds
        word, style = ("holds", "green") if verdict.holds else ("BROKEN", "bold red")
        if verdict.undecided:
            word, style = "undecided", "bold yellow"
        console.print(
            Text.assemble(
                (f"{word:>9}", style), f"  {verdict.name}", (f"  {verdict.summary}", "dim")
            ),
            soft_wrap=True,
        )
        for problem in verdict.problems:
            console.print(Text(f"           {problem.what}", style="red"), soft_wrap=True)
            for line in problem.evidence:
                console.print(Text(f"             {line}"), soft_wrap=True)
    return every


def main(arguments: list[str] | None = None) -> int:
    """Judge the history at a path; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.judge", description="Judge a kept chaos history again."
    )
    parser.add_argument("history", type=Path, help="history.jsonl of a run")
    parser.add_argument("--report", type=Path, help="write report.html and report.json there")
    options = parser.parse_args(arguments)
    try:
        history = History.load(options.history)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    verdicts = judge(history)
    console = Console()
    every = show(verdicts, console)
    if options.report:
        from .report import write

        console.print(f"report: {write(history, verdicts, options.report)}", markup=False)
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
