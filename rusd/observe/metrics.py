"""Prometheus metrics under etcd's names, read at scrape time.

Rooms count in plain integers on their own objects; no request touches a metrics library. A scrape
reads all samples (`member_samples.py`), histograms, the counts of calls and those of the process,
and renders them in Prometheus's text format 0.0.4 as Go does: families by name, integral numbers
without a fraction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.utils import floatToGoString

from rusd.rpc.errors import Code
from rusd.rpc.methods import BidiStream, CallCounts, Method, Methods, Unary

_UNKNOWN = "unknown"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Sample:
    """One value at the time of a scrape."""

    #: As etcd names it, `_total` included where etcd has it.
    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Whether the value never decreases.
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution at the time of a scrape."""

    name: str
    help: str
    #: Upper bounds of the buckets, ascending.
    bounds: Sequence[float]
    #: Observations in each bucket; the last bucket is unbounded.
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


class CallMetrics:
    """grpc_server_started_total and grpc_server_handled_total, from the counts of the methods."""

    def __init__(self, methods: Methods, unknown: CallCounts | None = None) -> None:
        """`unknown`: calls of paths that are no method.

        Every status of every method is shown from the start, so that a rate begins at the first
        call.
        """
        self._started = [
            (_labels(_names(path, _type(method))), method.counts)
            for path, method in methods.items()
        ]
        self._handled = [
            (_status_labels(path, _type(method)), method.counts) for path, method in methods.items()
        ]
        self._unknown = unknown or CallCounts()
        self._unknown_labels = _status_labels(_UNKNOWN, _UNKNOWN)

    def families(self) -> "Iterator[_Family]":
        """Both families, now."""
        started = _Family("grpc_server_started_total", "Calls started.", "counter")
        started.samples = [(labels, counts.started) for labels, counts in self._started]
        yield started
        handled = _Family("grpc_server_handled_total", "Calls finished, by status.", "counter")
        for labels, counts in self._handled:
            handled.samples += zip(labels, counts.finished, strict=True)
        handled.samples += [
            sample
            for sample in zip(self._unknown_labels, self._unknown.finished, strict=True)
            if sample[1]
        ]
        yield handled


class Metrics:
    """The metrics of one member."""

    def __init__(
        self,
        samples: Callable[[], list[Sample]],
        calls: CallMetrics,
        histograms: Callable[[], list[Histogram]] = list,
    ) -> None:
        """`samples` and `histograms` are called at every scrape."""
        self._samples = samples
        self._histograms = histograms
        self._calls = calls
        self._process = ProcessCollector(registry=CollectorRegistry())

    def render(self) -> bytes:
        """Returns the text of /metrics."""
        families = [*_grouped(self._samples()), *self._calls.families(), *self._of_process()]
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
        description = self.help.replace("\\", r"\\").replace("\n", r"\n")
        lines = [f"# HELP {name} {description}\n# TYPE {name} {self.kind}\n"]
        lines += [f"{name}{labels} {_number(value)}\n" for labels, value in self.samples]
        return "".join(lines)


def _grouped(samples: list[Sample]) -> list[_Family]:
    families: dict[str, _Family] = {}
    for one in samples:
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


def _names(path: str, kind: str) -> dict[str, str]:
    service, _, method = path.removeprefix("/").rpartition("/")
    return {"grpc_method": method, "grpc_service": service or _UNKNOWN, "grpc_type": kind}


def _status_labels(path: str, kind: str) -> list[str]:
    """The rendered labels of each status code, in order."""
    return [_labels({"grpc_code": _code_name(code), **_names(path, kind)}) for code in Code]


def _type(method: Method) -> str:
    if isinstance(method, Unary):
        return "unary"
    return "bidi_stream" if isinstance(method, BidiStream) else "server_stream"


def _code_name(code: int) -> str:
    """As Go prints it: OK, NotFound."""
    return "OK" if code == Code.OK else Code(code).name.title().replace("_", "")
