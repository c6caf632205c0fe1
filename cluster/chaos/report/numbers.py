"""The numbers of a run, for its plots, tables and report.json.

All times are seconds since the run began, all latencies and unavailabilities milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

from ..checks.search import effective
from ..history import Action, Fault, History, Outcome

#: Points in a curve, about.
_POINTS = 300
#: Seconds that one point of a curve may stand for.
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


def quantile(values: list[float], share: float) -> float | None:
    """Return the `share` quantile (nearest rank) of sorted values; None if there are none."""
    if not values:
        return None
    return values[max(0, ceil(share * len(values)) - 1)]


@dataclass
class Curves:
    """Values per step of `step` seconds: at[n] <= time < at[n] + step.

    Rates are calls per second by the time of their response (unknown ones: of their beginning);
    latencies are of acknowledged calls, None where there was none.
    """

    step: float
    at: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    read_p50: list[float | None] = field(default_factory=list)
    read_p99: list[float | None] = field(default_factory=list)
    write_p50: list[float | None] = field(default_factory=list)
    write_p99: list[float | None] = field(default_factory=list)
    watch_p50: list[float | None] = field(default_factory=list)
    watch_p99: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Outage:
    """The longest time without an acknowledged write that overlaps a fault; None: no writes."""

    fault: Fault
    milliseconds: float | None
    began: float
    ended: float


@dataclass(frozen=True)
class Kind:
    """All outages during faults of one kind, in milliseconds."""

    name: str
    faults: int
    median: float | None
    p99: float | None
    worst: float | None


@dataclass(frozen=True)
class Reign:
    """`member` led from `began` to `ended` (empty: there was no leader)."""

    member: str
    term: int
    began: float
    ended: float


@dataclass
class Numbers:
    """The figures of one run."""

    seconds: float
    ok: int
    failed: int
    unknown: int
    acknowledged_writes: int
    latency: dict[str, float | None]
    curves: Curves
    outages: list[Outage]
    kinds: list[Kind]
    reigns: list[Reign]
    #: Gaps between acknowledged writes while no fault was active: what is normal.
    quiet_p99: float | None


def measure(history: History) -> Numbers:
    """Compute the figures from a history."""
    operations = history.operations
    seconds = _end(history)
    acknowledged = sorted(
        op.completed
        for op in operations
        if op.outcome is Outcome.OK and op.completed is not None and effective(op)
    )
    outages = [_outage(fault, acknowledged, seconds) for fault in history.faults]
    outcomes: dict[Outcome, int] = defaultdict(int)
    for op in operations:
        outcomes[op.outcome] += 1
    waits: dict[bool, list[float]] = {True: [], False: []}
    for op in operations:
        if op.outcome is Outcome.OK and op.completed is not None:
            waits[op.action is Action.READ].append(1000 * (op.completed - op.invoked))
    latency = {}
    for name, reads in (("read", True), ("write", False)):
        waits[reads].sort()
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            latency[f"{name}_{label}"] = quantile(waits[reads], share)
    return Numbers(
        seconds=seconds,
        ok=outcomes[Outcome.OK],
        failed=outcomes[Outcome.FAILED],
        unknown=outcomes[Outcome.UNKNOWN],
        acknowledged_writes=len(acknowledged),
        latency=latency,
        curves=_curves(history, seconds),
        outages=outages,
        kinds=_kinds(outages),
        reigns=_reigns(history, seconds),
        quiet_p99=_quiet(history.faults, acknowledged),
    )


def _end(history: History) -> float:
    """Returns the time of the last call of a client."""
    times = [op.completed or op.invoked for op in history.operations]
    times += [fault.ended for fault in history.faults]
    times += [leader.at for leader in history.leaders]
    return max(times, default=0.0)


def _outage(fault: Fault, acknowledged: list[float], end: float) -> Outage:
    if not acknowledged:
        return Outage(fault, None, fault.began, fault.ended)
    first = max(0, bisect_right(acknowledged, fault.began) - 1)
    last = bisect_left(acknowledged, fault.ended)
    moments = acknowledged[first : last + 1]
    if fault.began < acknowledged[0]:
        moments.insert(0, 0.0)
    if last == len(acknowledged):
        moments.append(end)
    gaps = ((ended - began, began, ended) for began, ended in pairwise(moments))
    longest, began, ended = max(gaps, default=(0.0, fault.began, fault.began))
    return Outage(fault, 1000 * longest, began, ended)


def _kinds(outages: list[Outage]) -> list[Kind]:
    by_kind: dict[str, list[Outage]] = defaultdict(list)
    for outage in outages:
        by_kind[outage.fault.kind].append(outage)
    kinds = []
    for name, mine in sorted(by_kind.items()):
        values = sorted(one.milliseconds for one in mine if one.milliseconds is not None)
        kinds.append(
            Kind(name, len(mine), quantile(values, 0.5), quantile(values, 0.99), _last(values))
        )
    return kinds


def _last(values: list[float]) -> float | None:
    return values[-1] if values else None


def _quiet(faults: list[Fault], acknowledged: list[float]) -> float | None:
    """Return the 99th percentile of the gaps between acknowledged writes outside of all faults."""
    busy = sorted((fault.began, fault.ended) for fault in faults)
    gaps = []
    position, until = 0, float("-inf")
    for began, ended in pairwise(acknowledged):
        while position < len(busy) and busy[position][0] <= ended:
            until = max(until, busy[position][1])
            position += 1
        if until < began:
            gaps.append(1000 * (ended - began))
    return quantile(sorted(gaps), 0.99)


def _reigns(history: History, end: float) -> list[Reign]:
    leaders = sorted(history.leaders, key=lambda leader: leader.at)
    ends = [leader.at for leader in leaders[1:]] + [end]
    return [
        Reign(leader.member, leader.term, leader.at, ended)
        for leader, ended in zip(leaders, ends, strict=False)
    ]


def _curves(history: History, seconds: float) -> Curves:
    step = next((step for step in _STEPS if seconds / step <= _POINTS), _STEPS[-1])
    count = int(seconds / step) + 1
    reads: list[list[float]] = [[] for _ in range(count)]
    writes: list[list[float]] = [[] for _ in range(count)]
    lags: list[list[float]] = [[] for _ in range(count)]
    failed, unknown = [0] * count, [0] * count
    written: dict[int, float] = {}
    for op in history.operations:
        answered = op.invoked if op.completed is None else op.completed
        place = min(count - 1, int(answered / step))
        if op.outcome is Outcome.FAILED:
            failed[place] += 1
        elif op.outcome is Outcome.UNKNOWN:
            unknown[min(count - 1, int(op.invoked / step))] += 1
        else:
            wait = 1000 * (answered - op.invoked)
            (reads if op.action is Action.READ else writes)[place].append(wait)
            if op.revision and effective(op):
                written.setdefault(op.revision, answered)
    for at, lag in _lags(history, written):
        lags[min(count - 1, int(at / step))].append(lag)
    for some in (*reads, *writes, *lags):
        some.sort()
    return Curves(
        step=step,
        at=[round(number * step, 3) for number in range(count)],
        reads=[len(some) / step for some in reads],
        writes=[len(some) / step for some in writes],
        failed=[number / step for number in failed],
        unknown=[number / step for number in unknown],
        read_p50=[quantile(some, 0.5) for some in reads],
        read_p99=[quantile(some, 0.99) for some in reads],
        write_p50=[quantile(some, 0.5) for some in writes],
        write_p99=[quantile(some, 0.99) for some in writes],
        watch_p50=[quantile(some, 0.5) for some in lags],
        watch_p99=[quantile(some, 0.99) for some in lags],
    )


def _lags(history: History, written: dict[int, float]) -> Iterable[tuple[float, float]]:
    """Return (time, milliseconds after the writer's own response) of watch events."""
    for message in history.deliveries:
        for change in message.changes:
            answered = written.get(change.mod_revision)
            if answered is not None:
                yield message.at, max(0.0, 1000 * (message.at - answered))
