"""Prometheus metrics under etcd's names, read at scrape time.

Rooms count in plain integers on their own objects; nothing on the way of a request touches a
metrics library. A scrape collects the numbers through `Collect`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rusd.errors import Code


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric without labels at the moment of a scrape."""

    name: str
    help: str
    value: float
    #: True for what only ever grows.
    counter: bool = False


class CallCounts:
    """Finished gRPC calls by method and status."""

    def __init__(self) -> None:
        self.finished: Counter[tuple[str, int]] = Counter()

    def count(self, path: str, code: int) -> None:
        self.finished[path, code] += 1


class _Collect(Collector):
    def __init__(self, readings: Callable[[], list[Reading]], calls: CallCounts) -> None:
        self._readings = readings
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        for reading in self._readings():
            kind = CounterMetricFamily if reading.counter else GaugeMetricFamily
            yield kind(reading.name, reading.help, value=reading.value)
        handled = CounterMetricFamily(
            "grpc_server_handled",
            "Calls finished, by method and status.",
            labels=["grpc_service", "grpc_method", "grpc_code"],
        )
        for (path, code), count in self._calls.finished.items():
            service, _, method = path.removeprefix("/").rpartition("/")
            name = Code(code).name.title().replace("_", "")
            handled.add_metric([service, method, "OK" if code == 0 else name], count)
        yield handled


class Metrics:
    """The registry of one member."""

    def __init__(self, readings: Callable[[], list[Reading]], calls: CallCounts) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collect(readings, calls))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The page of /metrics."""
        return generate_latest(self._registry)
