"""What the members of a running cluster cost: processor time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.local import LocalCluster
from cluster.process import Process


@dataclass(frozen=True)
class Memory:
    """Resident memory of one member, MiB."""

    resident: float
    #: Of it what belongs to the process alone: without mapped files, which the kernel can drop.
    anonymous: float


def cpu_seconds(cluster: LocalCluster) -> float:
    """User and system time of all members so far."""
    return sum(
        sum(process.cpu_times()[:2]) for member in cluster.members for process in _family(member)
    )


def memory(member: Process) -> Memory:
    """Of one member."""
    fields = {"VmRSS": 0.0, "RssAnon": 0.0}
    for process in _family(member):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in fields:
                fields[name] += int(rest.split()[0]) / 1024
    return Memory(fields["VmRSS"], fields["RssAnon"])


def mean_memory(cluster: LocalCluster) -> Memory:
    """Mean of the members."""
    each = [memory(member) for member in cluster.members]
    return Memory(
        sum(one.resident for one in each) / len(each),
        sum(one.anonymous for one in each) / len(each),
    )


def _family(member: Process) -> list[psutil.Process]:
    """The member's process and any it has started."""
    process = psutil.Process(member.pid)
    return [process, *process.children(recursive=True)]
