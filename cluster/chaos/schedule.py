"""The faults of a run and their times: drawn from a seed before the run, saved and loaded as JSON.

A step names roles, not members: "leader" is resolved when the step begins. Members by number are
drawn here, so that the same seed gives the same steps whatever the cluster does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: Every kind of fault, with how often it is drawn, and how long it lasts (seconds, least and most).
KINDS: dict[str, tuple[int, float, float]] = {
    "kill-leader": (5, 0.1, 1.5),
    "kill-one": (4, 0.1, 2.0),
    "kill-majority": (2, 0.1, 1.0),
    "kill-all": (2, 0.1, 0.8),
    "pause-leader": (4, 0.3, 3.0),
    "pause-one": (3, 0.3, 3.0),
    "stop-leader": (3, 0.1, 1.0),
    "rolling-restart": (1, 0.1, 0.5),
    "wipe-member": (2, 0.1, 0.5),
    "partition-leader": (4, 0.5, 3.0),
    "partition-one": (3, 0.5, 3.0),
    "partition-all": (1, 0.5, 2.0),
    "leader-cannot-send": (3, 0.5, 3.0),
    "leader-cannot-hear": (3, 0.5, 3.0),
    "one-link": (2, 0.5, 3.0),
    "one-way": (2, 0.5, 3.0),
    "delay": (3, 1.0, 3.0),
    "loss": (3, 1.0, 3.0),
    "slow-disk": (3, 0.5, 2.5),
    "full-disk": (2, 0.5, 2.0),
    "disconnect-one": (3, 0.5, 3.0),
    "disconnect-leader": (3, 0.5, 3.0),
    "out-of-memory": (3, 0.1, 1.0),
    "clock-jump": (3, 1.0, 3.0),
    "other-image": (3, 0.1, 0.5),
    "rolling-upgrade": (2, 0.1, 0.5),
    "restart-engine": (2, 0.1, 1.0),
}

#: Kinds that must not overlap with another: a cluster of three survives the loss of only one disk
#: (etcd also checks only once whether the member was bootstrapped before), an upgrade goes on when
#: all members are healthy, and nothing can be done to containers while no engine runs.
ALONE = frozenset(("wipe-member", "other-image", "rolling-upgrade", "restart-engine"))

#: Seconds between the end of one fault and the next, least and most.
PAUSES = (0.3, 1.6)
#: How often the next fault begins while one is still there.
OVERLAP = 0.15


@dataclass(frozen=True, slots=True)
class Step:
    """A fault in a schedule."""

    #: Seconds after the end of the one before (or after its beginning, if they overlap).
    after: float
    kind: str
    #: Seconds it lasts.
    lasts: float
    #: Random numbers for the kind's parameters: members, rates.
    drawn: tuple[float, ...]
    #: Begins while the one before is still there.
    overlaps: bool = False


def draw(seed: int, seconds: float, kinds: Iterable[str]) -> list[Step]:
    """Draw steps of about `seconds` in total. Raises ValueError for an unknown kind, or none."""
    chosen = sorted(set(kinds))
    unknown = [kind for kind in chosen if kind not in KINDS]
    if unknown or not chosen:
        raise ValueError(f"unknown kinds of faults: {', '.join(unknown) or 'none given'}")
    source = random.Random(seed)
    weights = [KINDS[kind][0] for kind in chosen]
    steps: list[Step] = []
    at = 0.0
    while at < seconds:
        (kind,) = source.choices(chosen, weights)
        _, least, most = KINDS[kind]
        # Short faults are more frequent: most races need no more.
        lasts = least + (most - least) * source.random() ** 2
        overlaps = bool(steps) and source.random() < OVERLAP
        overlaps = overlaps and not ALONE & {kind, steps[-1].kind}
        after = source.uniform(*PAUSES) * (0.3 if overlaps else 1.0)
        drawn = tuple(round(source.random(), 6) for _ in range(4))
        steps.append(Step(round(after, 3), kind, round(lasts, 3), drawn, overlaps))
        at += after + (0.0 if overlaps else lasts)
    return steps


def save(steps: Sequence[Step], path: Path) -> None:
    """Write a schedule as JSON lines, for `--schedule`."""
    path.write_text(json.dumps([asdict(step) for step in steps], indent=1) + "\n")


def load(path: Path) -> list[Step]:
    """Load a schedule. Raises ValueError if the file is not one."""
    try:
        found = [
            Step(**{**fields, "drawn": tuple(fields["drawn"])})
            for fields in json.loads(path.read_text())
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no schedule: {error!r}") from error
    for step in found:
        if step.kind not in KINDS:
            raise ValueError(f"{path}: unknown kind of fault {step.kind}")
    return found
