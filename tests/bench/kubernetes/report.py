"""The section of docs/benchmarks.md about Kubernetes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.kubernetes.work import Size
from tests.bench.rows import number

HEADING = "## Kubernetes"

#: What stands behind the section.
NEXT = "## How to read this"

HEAD = """{heading}

A control plane of {version} (API server, controller manager, scheduler; kwok for the kubelets) on
three members with TLS, rusd and etcd taking turns, fresh members each time. Medians of {rounds}
round(s). Command: `make bench-kubernetes` (needs Go). **A ratio here is rusd divided by etcd: below
1, rusd is ahead**; behind it stand the lowest and the highest of the rounds. Objects are config
maps of about 1 kB; a deployment is scaled and rolled to {replicas} pods.

Machine: {machine}.
"""

NOTES = """
The API server's means are of its histogram `etcd_request_duration_seconds` over all resources, from
the first object to the end of the namespace. Lists are answered from its cache, once the store has
told its revision; an object is read from the store. The pace of scaling, rolling and deleting is in
part that of the controllers, which limit their own calls a second.
"""

#: Title of a row -> what each round measured.
Rounds = list[dict[str, float]]


def section(
    measured: dict[str, Rounds], subject: str, size: Size, version: str, machine: str
) -> str:
    """Markdown. `subject`: the server that the others are compared with, one of `measured`."""
    others = [name for name in measured if name != subject]
    titles = ["", *(f"{subject} / {name}" for name in others), *measured]
    lines = [_line(titles), "|---|" + "---:|" * (len(titles) - 1)]
    # In a round that failed, nothing was measured.
    for title in dict.fromkeys(title for each in measured[subject] for title in each):
        ratios = [_ratio(title, measured[subject], measured[name]) for name in others]
        medians = [number(_median(title, rounds)) for rounds in measured.values()]
        lines.append(_line([title, *ratios, *medians]))
    rounds = len(measured[subject])
    head = HEAD.format(
        heading=HEADING, version=version, rounds=rounds, replicas=size.replicas, machine=machine
    )
    return head + "\n" + "\n".join(lines) + "\n" + NOTES


def section_of(page: str) -> str:
    """The section as it stands in the page; empty if there is none."""
    start = page.find(HEADING + "\n")
    if start < 0:
        return ""
    end = page.find("\n## ", start)
    return page[start:] if end < 0 else page[start : end + 1]


def with_section(page: str, text: str) -> str:
    """The page with this section in place of the one that it has."""
    old = section_of(page)
    if old:
        return page.replace(old, text.rstrip("\n") + "\n\n")
    before, found, after = page.partition(NEXT)
    return f"{before}{text.rstrip()}\n\n{found}{after}" if text else page


def _median(title: str, rounds: Rounds) -> float | None:
    found = [each[title] for each in rounds if title in each]
    return statistics.median(found) if found else None


def _ratio(title: str, mine: Rounds, theirs: Rounds) -> str:
    """Ratio of the medians, and the range of the ratios within rounds."""
    each = [
        one[title] / other[title]
        for one, other in zip(mine, theirs, strict=True)
        if title in one and other.get(title)
    ]
    above, below = _median(title, mine), _median(title, theirs)
    if not each or above is None or not below:
        return "-"
    return f"**{above / below:.2f}** ({min(each):.2f} to {max(each):.2f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
