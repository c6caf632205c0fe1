"""The result of a check: whether a guarantee held, the number of items, and counterexamples.

A check collects `Findings` during its pass over the history and returns them as a `Verdict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

#: Counterexamples in a verdict; a violation usually repeats.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One counterexample: `what` is a sentence, `evidence` lines that a person can follow it by."""

    what: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one guarantee.

    `checked` counts the items examined; `undecided` (then `holds` is False) means that the
    guarantee could be neither confirmed nor refuted, and `summary` gives the reason.
    """

    name: str
    holds: bool
    checked: int
    summary: str
    problems: tuple[Problem, ...] = ()
    undecided: bool = False


@dataclass
class Findings:
    """The counterexamples and counts of a check in progress. `unit`: the items, in the plural."""

    name: str
    unit: str
    checked: int = 0
    found: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def problem(self, what: str, evidence: Iterable[str] = ()) -> None:
        """Add a counterexample; only the first `SHOWN` are kept, all are counted."""
        self.found += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(what, tuple(evidence)))

    def note(self, text: str) -> None:
        """Add a remark that does not affect the result."""
        self.notes.append(text)

    def doubt(self, why: str) -> None:
        """Record that a part could not be checked: without problems the verdict is undecided."""
        self.doubts.append(why)

    def verdict(self) -> Verdict:
        """Return the result of the check so far."""
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
