"""Prometheus metrics under etcd's names, read at scrape time.

Rooms count in plain integers on their own objects; nothing on the way of a request touches a
metrics library. A scrape asks for all readings (`rusd/readings.py`) and for the counts of calls,
and renders them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from rusd.api.seam import BidiStream, Method, Unary
from rusd.errors import Code

_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample at the moment of a scrape; samples of one name follow each other."""

    #: As etcd names it, `_total` included where etcd has it.
    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    #: True for what only ever grows.
    counter: bool = False


class CallCounts:
    """gRPC calls begun and finished, by path and status."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.finished: Counter[tuple[str, int]] = Counter()
        self._types: dict[str, str] = {}

    def expect(self, methods: Mapping[str, Method]) -> None:
        """Show these methods from the start, with 0: rates then begin at the first call."""
        for path, method in methods.items():
            self._types[path] = _type(method)
            self.started[path] += 0
            self.finished[path, Code.OK] += 0

    def start(self, path: str) -> None:
        self.started[path] += 1

    def count(self, path: str, code: int) -> None:
        self.finished[path, code] += 1

    def families(self) -> Iterator[Metric]:
        """grpc_server_started_total and grpc_server_handled_total."""
        names = ["grpc_type", "grpc_service", "grpc_method"]
        started = CounterMetricFamily("grpc_server_started", "Calls begun.", labels=names)
        for path, count in self.started.items():
            started.add_metric(self._labels(path), count)
        yield started
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls finished, by status.", labels=[*names, "grpc_code"]
        )
        for (path, code), count in self.finished.items():
            handled.add_metric([*self._labels(path), _code_name(code)], count)
        yield handled

    def _labels(self, path: str) -> list[str]:
        service, _, method = path.removeprefix("/").rpartition("/")
        return [self._types.get(path, _UNKNOWN), service or _UNKNOWN, method]


def _type(method: Method) -> str:
    if isinstance(method, Unary):
        return "unary"
    return "bidi_stream" if isinstance(method, BidiStream) else "server_stream"


def _code_name(code: int) -> str:
    """As Go prints it: OK, NotFound."""
    return "OK" if code == Code.OK else Code(code).name.title().replace("_", "")


class _Collect(Collector):
    def __init__(self, readings: Callable[[], list[Reading]], calls: CallCounts) -> None:
        self._readings = readings
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for one in self._readings():
            family = families.get(one.name)
            if family is None:
                # The library would append _total to every counter; etcd has some without.
                kind = "counter" if one.counter and one.name.endswith("_total") else "gauge"
                bare = one.name.removesuffix("_total") if kind == "counter" else one.name
                family = families[one.name] = Metric(bare, one.help, kind)
            family.add_sample(one.name, dict(one.labels), one.value)
        yield from families.values()
        yield from self._calls.families()


class Metrics:
    """The registry of one member."""

    def __init__(self, readings: Callable[[], list[Reading]], calls: CallCounts) -> None:
        """`readings` is asked at every scrape."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collect(readings, calls))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The page of /metrics."""
        return generate_latest(self._registry)
