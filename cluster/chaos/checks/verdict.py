"""The result of a check: whether a guarantee held, over how many items, and the counterexamples.

A check collects in a `Findings` while it goes through the history and ends it as a `Verdict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

#: One broken promise is usually seen many times; this many are written out.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One counterexample: `what` is a sentence, `evidence` lines that a person can follow it by."""

    what: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise.

    `checked` counts the things looked at; `undecided` (then `holds` is False) means that neither
    yes nor no could be said, and `summary` tells why.
    """

    name: str
    holds: bool
    checked: int
    summary: str
    problems: tuple[Problem, ...] = ()
    undecided: bool = False


@dataclass
class Findings:
    """A verdict while it is collected. `unit` names what is counted, in the plural."""

    name: str
    unit: str
    checked: int = 0
    found: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def problem(self, what: str, evidence: Iterable[str] = ()) -> None:
        self.found += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(what, tuple(evidence)))

    def note(self, text: str) -> None:
        """Something the reader should know that changes nothing."""
        self.notes.append(text)

    def doubt(self, why: str) -> None:
        """Part of the promise could not be checked: without problems the verdict is undecided."""
        self.doubts.append(why)

    def verdict(self) -> Verdict:
        holds = not self.found and not self.doubts
        counted = f"{self.checked:,} {self.unit} checked"
        if self.found:
            counted += f", {self.found:,} problem{'s' if self.found > 1 else ''}"
            if self.found > len(self.problems):
                counted += f" (the first {len(self.problems)} are shown)"
        undecided = bool(self.doubts) and not self.found
        doubts = [f"undecided: {why}" for why in self.doubts]
        summary = "; ".join([*doubts, counted, *self.notes])
        return Verdict(self.name, holds, self.checked, summary, tuple(self.problems), undecided)
