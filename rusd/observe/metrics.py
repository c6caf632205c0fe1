"""Prometheus metrics under etcd's names, read at scrape time.

Rooms count in plain integers on their own objects; no request touches a metrics library. A scrape
reads all sources (`samples.py`) and the counts of calls, and renders them in Prometheus's text
format 0.0.4 as Go does: families by name, integral numbers without a fraction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

from rusd.observe.samples import Histogram, Sample, Source
from rusd.rpc.errors import Code
from rusd.rpc.methods import BidiStream, CallCounts, Method, Methods, Unary

_UNKNOWN = "unknown"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class CallMetrics:
    """The families grpc_server_*, from the counts of the methods."""

    def __init__(self, methods: Methods, unknown: CallCounts | None = None) -> None:
        """`unknown`: calls of paths that are no method.

        Every status of every method is shown from the start, so that a rate begins at the first
        call.
        """
        self._methods = [
            (_names(path, _type(method)), _status_labels(path, _type(method)), method)
            for path, method in methods.items()
        ]
        self._unknown = unknown or CallCounts()
        self._unknown_labels = _status_labels(_UNKNOWN, _UNKNOWN)

    def read(self) -> Iterator[Sample | Histogram]:
        """Yield samples of every method: messages, bytes and durations."""
        received = sent = 0
        for names, _, method in self._methods:
            counts = method.counts
            received += counts.received_bytes
            sent += counts.sent_bytes
            messages = counts.stream_received, counts.stream_sent
            if isinstance(method, Unary):
                # As in etcd: one when it starts, one when it succeeds.
                messages = counts.started, counts.finished[Code.OK]
            for name, text, value in (
                ("grpc_server_msg_received_total", "Messages received.", messages[0]),
                ("grpc_server_msg_sent_total", "Messages sent.", messages[1]),
            ):
                yield Sample(name, text, value, names, counter=True)
            if counts.seconds is not None:
                yield Histogram(
                    "grpc_server_handling_seconds", "Seconds of calls.", counts.seconds, names
                )
        for name, text, value in (
            ("received", "Bytes of messages from clients.", received),
            ("sent", "Bytes of messages to clients.", sent),
        ):
            yield Sample(f"etcd_network_client_grpc_{name}_bytes_total", text, value, counter=True)

    def families(self) -> "Iterator[_Family]":
        """Return calls started and finished: some thousand samples, whose rendered labels are
        cached.
        """
        started = _Family("grpc_server_started_total", "Calls started.", "counter")
        started.samples = [
            (_labels(names), method.counts.started) for names, _, method in self._methods
        ]
        yield started
        handled = _Family("grpc_server_handled_total", "Calls finished, by status.", "counter")
        for _, labels, method in self._methods:
            handled.samples += zip(labels, method.counts.finished, strict=True)
        handled.samples += [
            sample
            for sample in zip(self._unknown_labels, self._unknown.finished, strict=True)
            if sample[1]
        ]
        yield handled


class Metrics:
    """The metrics of one member."""

    def __init__(self, sources: Sequence[Source], calls: CallMetrics) -> None:
        """`sources` are read at every scrape."""
        self._sources = sources
        self._calls = calls

    def render(self) -> bytes:
        """Returns the text of /metrics."""
        sources = (*self._sources, self._calls)
        read = chain.from_iterable(source.read() for source in sources)
        families = [*_grouped(read), *self._calls.families()]
        families.sort(key=lambda family: family.name)
        return "".join(map(_Family.text, families)).encode()


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


def _grouped(samples: Iterable[Sample | Histogram]) -> list[_Family]:
    families: dict[str, _Family] = {}
    for one in samples:
        family = families.get(one.name)
        if family is None:
            family = families[one.name] = _Family(one.name, one.help, _kind(one))
        if isinstance(one, Histogram):
            family.samples += _buckets(one)
        else:
            family.samples.append((_labels(one.labels), one.value))
    return list(families.values())


def _kind(one: Sample | Histogram) -> str:
    if isinstance(one, Histogram):
        return "histogram"
    return "counter" if one.counter else "gauge"


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    seen, labels = histogram.distribution, histogram.labels
    below = list(accumulate(seen.counts))
    for name, count in zip([*map(_number, seen.bounds), "+Inf"], below, strict=True):
        yield "_bucket" + _labels({**labels, "le": name}), count
    yield "_sum" + _labels(labels), seen.sum
    yield "_count" + _labels(labels), below[-1]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    parts = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items())]
    return "{" + ",".join(parts) + "}"


def _number(value: float) -> str:
    """Format a number as Go does: 7, 0.5, 2.147483648e+09."""
    if type(value) is int and -1_000_000 < value < 1_000_000:
        return str(value)
    # Here, so that a start need not wait for it.
    from prometheus_client.utils import floatToGoString

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
    """Format a gRPC code as Go does: OK, NotFound."""
    return "OK" if code == Code.OK else Code(code).name.title().replace("_", "")
