"""Medians of the stages of calls of one kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

#: Stage, begin and end in nanoseconds.
Note = tuple[str, int, int]
#: Begin and end of a call at the client.
Span = tuple[int, int]


class Stage(NamedTuple):
    """One stage of a kind of call; times in microseconds, medians over the calls that have it."""

    member: str
    name: str
    #: From the client's begin.
    begin: float
    seconds: float
    #: Without the stages within it.
    alone: float


def stages(notes: Mapping[str, Sequence[Note]], calls: Sequence[Span]) -> list[Stage]:
    """The stages that most calls have, in order of their begin. A stage that a member has several
    times in one call is several ones, in their order.
    """
    found: dict[tuple[str, str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for member, all_notes in notes.items():
        ordered = sorted(all_notes, key=lambda one: (one[1], -one[2]))
        at = 0
        for begin, end in calls:
            while at < len(ordered) and ordered[at][1] < begin:
                at += 1
            within = []
            while at < len(ordered) and ordered[at][1] < end:
                within.append(ordered[at])
                at += 1
            seen: dict[str, int] = defaultdict(int)
            for (name, began, ended), inner in zip(within, _inner(within), strict=True):
                seen[name] += 1
                found[member, name, seen[name]].append(
                    (began - begin, ended - began, ended - began - inner)
                )
    result = [
        Stage(
            member,
            name if number == 1 else f"{name} ({number})",
            *(median(one[column] for one in times) / 1000 for column in range(3)),
        )
        for (member, name, number), times in found.items()
        if 2 * len(times) >= len(calls)
    ]
    return sorted(result, key=lambda stage: stage.begin)


def _inner(ordered: Sequence[Note]) -> list[int]:
    """Nanoseconds that stages directly within each one take."""
    inner = [0] * len(ordered)
    around: list[int] = []
    for number, (_, began, ended) in enumerate(ordered):
        while around and ordered[around[-1]][2] <= began:
            around.pop()
        if around:
            inner[around[-1]] += ended - began
        around.append(number)
    return inner


def fastest(calls: Sequence[Span], part: float) -> list[Span]:
    """The fastest part of the calls, in order of time."""
    chosen = sorted(calls, key=lambda call: call[1] - call[0])[: max(1, round(part * len(calls)))]
    return sorted(chosen)
