"""Finds the first moment at which a key's history is not linearizable, and explains it.

Every prefix of a linearizable history is linearizable, with the calls in progress at its end as
unknown ones. So there is a first moment without an order, and the response at that moment is the
contradiction. The search begins at the start of the history, in steps that double, then bisects:
refuting a short history is much cheaper than refuting a long one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..history import Action, Operation, Outcome
from . import describe
from .search import Search, effective, value_after, value_seen

#: Responses in the first step, and calls shown from the end of an order.
_FIRST_STEP, _TAIL = 256, 8


@dataclass(frozen=True, slots=True)
class Counterexample:
    """The first moment without an order, the responses at it, and an order of all calls before."""

    moment: float
    answers: tuple[Operation, ...]
    order: tuple[Operation, ...]
    #: All calls, including later ones.
    calls: tuple[Operation, ...]


def find(operations: list[Operation], budget: int) -> Counterexample | None:
    """Return the first moment without an order; None if absent or not found within `budget`."""
    ends = sorted({op.completed for op in operations if _certain(op) and op.completed is not None})
    good, bad, step = -1, -1, _FIRST_STEP
    while bad < 0:
        if good == len(ends) - 1:
            return None
        tried = min(good + step, len(ends) - 1)
        possible = Search(until(operations, ends[tried])).run(budget).linearizable
        if possible is None:
            return None
        good, bad = (tried, -1) if possible else (good, tried)
        step *= 2
    while bad - good > 1:
        middle = (good + bad) // 2
        if Search(until(operations, ends[middle])).run(budget).linearizable is False:
            bad = middle
        else:
            good = middle
    return Counterexample(
        moment=ends[bad],
        answers=tuple(op for op in operations if _certain(op) and op.completed == ends[bad]),
        order=Search(until(operations, ends[good])).run(budget).order if good >= 0 else (),
        calls=tuple(operations),
    )


def until(operations: list[Operation], moment: float) -> list[Operation]:
    """Return the calls that began by a moment; those in progress have an unknown outcome."""
    known = []
    for op in operations:
        if _over(op, moment):
            known.append(op)
        elif op.invoked <= moment and effective(op):
            known.append(replace(op, outcome=Outcome.UNKNOWN, completed=None, succeeded=None))
    return known


def explain(key: str, found: Counterexample) -> tuple[str, list[str]]:
    """Return the counterexample as a sentence and lines of evidence."""
    what = f"key {key}: no order explains all answers up to {found.moment:.6f} s"
    order, moment = found.order, found.moment
    start = max(0, len(order) - _TAIL)
    lines = ["The longest order, of all calls answered before then, ends with:"]
    lines += [f"  … {start} calls before"] if start else []
    lines += (f"  {n}. {describe.operation(op)}" for n, op in enumerate(order[start:], start + 1))
    lines += [] if order else ["  (no call)"]
    lines.append("With this answer too, neither that order nor any other is possible:")
    for op in found.answers:
        lines.append(f"  {describe.operation(op)}")
        lines += (f"    {line}" for line in _origin(op, found.calls))
    going_on = sorted(
        (op for op in until(list(found.calls), moment) if op.outcome is Outcome.UNKNOWN),
        key=lambda op: op.invoked,
    )
    if going_on:
        lines.append(f"Calls without an answer by then, with effects or not: {len(going_on)}")
        lines += (f"  {describe.operation(op)}" for op in going_on[-_TAIL:])
    return what, lines


def _certain(op: Operation) -> bool:
    return op.outcome is Outcome.OK


def _over(op: Operation, moment: float) -> bool:
    return _certain(op) and op.completed is not None and op.completed <= moment


def _origin(op: Operation, operations: tuple[Operation, ...]) -> list[str]:
    """Describe the origin of the value that the call met."""
    seen = value_seen(op)
    if seen is None:
        if op.action is Action.CAS:
            return ["It was refused, though the key was what it expects in every order."]
        return ["With its effect, the responses of other calls are impossible."]
    makers = [other for other in operations if effective(other) and value_after(other) == seen[0]]
    if not makers and seen[0] is not None:
        return [f"No call wrote {describe.value(seen[0])}."]
    before = [other for other in makers if other.invoked <= (op.completed or other.invoked)]
    if not before:
        if seen[0] is None:
            return ["The key was written, and nobody deleted it."]
        return [f"That was written only later: {describe.operation(makers[0])}"]
    later = [
        other
        for other in operations
        if effective(other)
        and _certain(other)
        and value_after(other) != seen[0]
        and (other.completed or 0) < op.invoked
        and all(_over(maker, other.invoked) for maker in before)
    ]
    lines = [f"That was written by: {describe.operation(before[-1])}"]
    lines += [f"and overwritten by: {describe.operation(later[0])}"] if later else []
    return lines
