"""The part of the members' logs that was written since a moment, as sections of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..local import LocalCluster

#: Bytes of a log that are shown; the end says what failed.
SHOWN = 16 << 10

#: Log -> its size at a moment.
Marks = dict[Path, int]


def marks(clusters: Iterable[LocalCluster]) -> Marks:
    """Return where the logs of all members end now."""
    logs = [member.log for cluster in clusters for member in cluster.members]
    return {log: log.stat().st_size for log in logs if log.exists()}


def since(before: Marks, clusters: Iterable[LocalCluster]) -> Iterator[tuple[str, str]]:
    """Return heading and text for each member that wrote since; a log that is new, from its
    beginning.
    """
    for cluster in clusters:
        for member in cluster.members:
            if text := _text(member.log, before.get(member.log, 0)):
                yield f"log of {member.name} ({member.endpoint})", text


def _text(log: Path, begin: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        end = file.seek(0, 2)
        start = max(begin, end - SHOWN)
        file.seek(start)
        text = file.read().decode(errors="replace")
    return f"... (from {log})\n{text.partition(chr(10))[2]}" if start > begin else text
