"""Prometheus metrics under etcd's names, read at scrape time.

Rooms count in plain integers on their own objects; nothing on the way of a request touches a
metrics library. A scrape asks for all readings (`readings.py`), for the counts of calls and
for the process, and renders them in Prometheus's text format 0.0.4 as Go does: families by name,
numbers without a fraction as integers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.utils import floatToGoString

from rusd.rpc.errors import Code
from rusd.rpc.methods import BidiStream, Method, Unary

_UNKNOWN = "unknown"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample at the moment of a scrape."""

    #: As etcd names it, `_total` included where etcd has it.
    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    #: True for what only ever grows.
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution at the moment of a scrape."""

    name: str
    help: str
    #: Upper bounds of the buckets, ascending.
    bounds: Sequence[float]
    #: Observations in each bucket; the last are those above every bound.
    counts: Sequence[int]
    sum: float

    def family(self) -> "_Family":
        family = _Family(self.name, self.help, "histogram")
        names = [*map(_number, self.bounds), "+Inf"]
        below = list(accumulate(self.counts))
        family.samples = [
            (f'_bucket{{le="{name}"}}', count) for name, count in zip(names, below, strict=True)
        ]
        family.samples += [("_sum", self.sum), ("_count", below[-1])]
        return family


class CallCounts:
    """gRPC calls begun and finished, by path and status."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.finished: Counter[tuple[str, int]] = Counter()
        self._types: dict[str, str] = {}
        #: The labels of each count, rendered once.
        self._started_labels: dict[str, str] = {}
        self._finished_labels: dict[tuple[str, int], str] = {}

    def expect(self, methods: Mapping[str, Method]) -> None:
        """Show these methods from the start, with 0 for every status: a rate begins at the first
        call."""
        for path, method in methods.items():
            self._types[path] = _type(method)
            self.started[path] += 0
            for code in Code:
                self.finished[path, code] += 0

    def start(self, path: str) -> None:
        self.started[path] += 1

    def count(self, path: str, code: int) -> None:
        self.finished[path, code] += 1

    def families(self) -> "Iterator[_Family]":
        """grpc_server_started_total and grpc_server_handled_total."""
        known = self._started_labels
        for path in self.started.keys() - known.keys():
            known[path] = _labels(self._names(path))
        started = _Family("grpc_server_started_total", "Calls begun.", "counter")
        started.samples = [(known[path], count) for path, count in self.started.items()]
        yield started
        statuses = self._finished_labels
        for path, code in self.finished.keys() - statuses.keys():
            names = {"grpc_code": _code_name(code), **self._names(path)}
            statuses[path, code] = _labels(names)
        handled = _Family("grpc_server_handled_total", "Calls finished, by status.", "counter")
        handled.samples = [(statuses[key], count) for key, count in self.finished.items()]
        yield handled

    def _names(self, path: str) -> dict[str, str]:
        service, _, method = path.removeprefix("/").rpartition("/")
        return {
            "grpc_method": method,
            "grpc_service": service or _UNKNOWN,
            "grpc_type": self._types.get(path, _UNKNOWN),
        }


class Metrics:
    """The metrics of one member."""

    def __init__(
        self,
        readings: Callable[[], list[Reading]],
        calls: CallCounts,
        histograms: Callable[[], list[Histogram]] = list,
    ) -> None:
        """`readings` and `histograms` are called at every scrape."""
        self._readings = readings
        self._histograms = histograms
        self._calls = calls
        self._process = ProcessCollector(registry=CollectorRegistry())

    def render(self) -> bytes:
        """The page of /metrics."""
        families = [*_grouped(self._readings()), *self._calls.families(), *self._of_process()]
        families += [histogram.family() for histogram in self._histograms()]
        families.sort(key=lambda family: family.name)
        return "".join(map(_Family.text, families)).encode()

    def _of_process(self) -> Iterator["_Family"]:
        for metric in self._process.collect():
            for sample in metric.samples:
                family = _Family(sample.name, metric.documentation, metric.type)
                family.samples.append((_labels(sample.labels), sample.value))
                yield family


@dataclass(slots=True)
class _Family:
    """The samples of one name."""

    name: str
    help: str
    kind: str
    #: What follows the name (a suffix, rendered labels), and the value.
    samples: list[tuple[str, float]] = field(default_factory=list)

    def text(self) -> str:
        name = self.name
        help = self.help.replace("\\", r"\\").replace("\n", r"\n")
        lines = [f"# HELP {name} {help}\n# TYPE {name} {self.kind}\n"]
        lines += [f"{name}{labels} {_number(value)}\n" for labels, value in self.samples]
        return "".join(lines)


def _grouped(readings: list[Reading]) -> list[_Family]:
    families: dict[str, _Family] = {}
    for one in readings:
        family = families.get(one.name)
        if family is None:
            kind = "counter" if one.counter else "gauge"
            family = families[one.name] = _Family(one.name, one.help, kind)
        family.samples.append((_labels(one.labels), one.value))
    return list(families.values())


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    parts = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items())]
    return "{" + ",".join(parts) + "}"


def _number(value: float) -> str:
    """As Go prints it: 7, 0.5, 2.147483648e+09."""
    if type(value) is int and -1_000_000 < value < 1_000_000:
        return str(value)
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text.removesuffix(".0")


def _type(method: Method) -> str:
    if isinstance(method, Unary):
        return "unary"
    return "bidi_stream" if isinstance(method, BidiStream) else "server_stream"


def _code_name(code: int) -> str:
    """As Go prints it: OK, NotFound."""
    return "OK" if code == Code.OK else Code(code).name.title().replace("_", "")
