"""Length and number of measurements."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Plan:
    """Options of the command line; passed to every part."""

    #: Repetitions of every row; each gives one number per server, the median is shown.
    repeat: int
    #: Length of one measurement in seconds, after `warm_up` more.
    seconds: float
    #: Whether the unary rows get new clusters for every repetition. Two clusters of one program
    #: differ, by a tenth in lone calls; repetitions on one pair of them do not even that out.
    fresh: bool
    #: For h2load's request bodies.
    scratch: Path
    #: Sizes of the clusters.
    members: list[int] = field(default_factory=lambda: [3, 1])
    #: Rows whose title (with the number of members before it) matches are run.
    only: re.Pattern[str] | None = None
    #: Keys in the large store.
    keys: int = 1_000_000
    #: Keys at which memory is looked at on the way there.
    keys_between: int = 100_000
    #: Idle watchers whose memory is measured.
    watchers: int = 10_000
    warm_up: float = 0.5
    #: A long operation is repeated until it has run so many seconds.
    long_seconds: float = 3.0
    #: Seconds every start took, by (members, server).
    startups: dict[tuple[int, str], list[float]] = field(default_factory=dict)

    def wants(self, members: int, title: str) -> bool:
        return self.only is None or self.only.search(f"{members} members: {title}") is not None

    def turns(self) -> range:
        return range(self.repeat)

    def turns_of_clusters(self) -> list[range]:
        """The repetitions of the unary rows, by the pair of clusters they run on."""
        return [range(turn, turn + 1) for turn in self.turns()] if self.fresh else [self.turns()]


def say(line: str) -> None:
    print(line, flush=True)
