"""Samples of the process, under the names of Prometheus's Go client and of etcd."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rusd.observe.samples import Sample

if TYPE_CHECKING:
    from prometheus_client import ProcessCollector

_NETWORK = Path("/proc/self/net/netstat")
#: What a limit of none is shown as: the largest 64-bit number.
_UNLIMITED = 2**64 - 1


class ProcessSamples:
    """Reads the samples (a `Source`)."""

    def __init__(self) -> None:
        #: Made by the first scrape: its module takes a tenth of a start to load.
        self._process: ProcessCollector | None = None

    def read(self) -> Iterator[Sample]:
        """Returns all samples, now."""
        if self._process is None:
            from prometheus_client import CollectorRegistry, ProcessCollector

            self._process = ProcessCollector(registry=CollectorRegistry())
        files = {"process_open_fds": "os_fd_used", "process_max_fds": "os_fd_limit"}
        for metric in self._process.collect():
            for sample in metric.samples:
                counter = metric.type == "counter"
                yield Sample(sample.name, metric.documentation, sample.value, counter=counter)
                if sample.name in files:
                    yield Sample(files[sample.name], metric.documentation, sample.value)
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        yield Sample(
            "process_virtual_memory_max_bytes",
            "Largest address space allowed.",
            _UNLIMITED if limit == resource.RLIM_INFINITY else limit,
        )
        yield from _network()


def _network() -> Iterator[Sample]:
    """Return bytes received and sent in the process's network namespace."""
    try:
        lines = [line.split() for line in _NETWORK.read_text().splitlines()]
    except OSError:
        return
    # A line of names, then a line of numbers.
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        found = dict(zip(names, numbers, strict=False))
        if found.get("IpExt:") == "IpExt:":
            for key, name in (("InOctets", "receive"), ("OutOctets", "transmit")):
                yield Sample(
                    f"process_network_{name}_bytes_total",
                    "Bytes of the network namespace.",
                    int(found[key]),
                    counter=True,
                )
