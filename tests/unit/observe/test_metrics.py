"""The page of /metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rusd.base.distribution import DISK_SECONDS, Distribution, exponential
from rusd.base.pending import Pending
from rusd.observe.metrics import CallMetrics, Metrics
from rusd.observe.process_samples import ProcessSamples
from rusd.observe.samples import Histogram, Sample
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import EMPTY_KEY, Code, EtcdError
from rusd.rpc.guards.timing import timed
from rusd.rpc.methods import BidiStream, CallCounts, ServerStream, Unary

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Source:
    """Samples made up."""

    def __init__(self, samples: Iterable[Sample | Histogram]) -> None:
        self._samples = list(samples)

    def read(self) -> list[Sample | Histogram]:
        return self._samples


def samples(samples: Iterable[Sample | Histogram], calls: CallMetrics | None = None) -> Samples:
    """(name, sorted labels) -> value, as a scraper reads them."""
    page = Metrics([Source(samples)], calls or CallMetrics({})).render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_samples_keep_etcds_names_and_labels() -> None:
    found = samples(
        [
            Sample("etcd_server_has_leader", "", True),
            Sample("etcd_server_proposals_committed_total", "", 7),
            Sample("etcd_server_leader_changes_seen_total", "", 2, counter=True),
            Sample("etcd_server_health_success", "", 3, counter=True),
            Sample("etcd_network_active_peers", "", 1, {"Remote": "a"}),
            Sample("etcd_network_active_peers", "", 0, {"Remote": "b"}),
        ]
    )
    assert found["etcd_server_has_leader", ()] == 1
    assert found["etcd_server_proposals_committed_total", ()] == 7
    assert found["etcd_server_leader_changes_seen_total", ()] == 2
    # This parser adds "_total" to the name of any counter; etcd's page, and ours, do without here.
    assert found["etcd_server_health_success_total", ()] == 3
    assert found["etcd_network_active_peers", (("Remote", "a"),)] == 1
    assert found["etcd_network_active_peers", (("Remote", "b"),)] == 0


def test_calls_are_counted_by_method_and_status() -> None:
    put = Unary(rpc.PutRequest, lambda request, call: b"")
    unknown = CallCounts()
    calls = CallMetrics({"/etcdserverpb.KV/Put": put}, unknown)
    for code in (Code.OK, Code.OK, Code.NOT_FOUND):
        put.counts.start()
        put.counts.finish(code)
    unknown.finish(Code.UNIMPLEMENTED)
    method = (
        ("grpc_method", "Put"),
        ("grpc_service", "etcdserverpb.KV"),
        ("grpc_type", "unary"),
    )
    found = samples([], calls)
    assert found["grpc_server_started_total", method] == 3
    assert found["grpc_server_handled_total", (("grpc_code", "OK"), *method)] == 2
    assert found["grpc_server_handled_total", (("grpc_code", "NotFound"), *method)] == 1
    assert [labels for name, labels in found if dict(labels).get("grpc_method") == "unknown"] == [
        (
            ("grpc_code", "Unimplemented"),
            ("grpc_method", "unknown"),
            ("grpc_service", "unknown"),
            ("grpc_type", "unknown"),
        )
    ]


def test_expected_methods_are_there_before_their_first_call() -> None:
    def never(*_: object) -> None:
        raise AssertionError("nobody calls")

    calls = CallMetrics(
        {
            "/s.S/Down": ServerStream(rpc.PutRequest, never),  # type: ignore[arg-type]
            "/s.S/Both": BidiStream(rpc.PutRequest, never),  # type: ignore[arg-type]
        }
    )
    types = {
        dict(labels)["grpc_type"]: value
        for (name, labels), value in samples([], calls).items()
        if name == "grpc_server_handled_total"
    }
    assert types == {"server_stream": 0, "bidi_stream": 0}


def test_every_status_of_every_method_is_there_from_the_start_as_in_etcd() -> None:
    calls = CallMetrics({"/s.S/Put": Unary(rpc.PutRequest, lambda request, call: b"")})
    codes = {
        dict(labels)["grpc_code"]: value
        for (name, labels), value in samples([], calls).items()
        if name == "grpc_server_handled_total"
    }
    assert len(codes) == 17
    assert {"OK", "InvalidArgument", "DeadlineExceeded", "Unauthenticated"} < codes.keys()
    assert set(codes.values()) == {0}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (True, "1"),
        (-1, "-1"),
        (999_999, "999999"),
        (7.0, "7"),
        (0.5, "0.5"),
        (9.5091e-05, "9.5091e-05"),
        (1_000_000, "1e+06"),
        (2_147_483_648, "2.147483648e+09"),
        (2**64, "1.8446744073709552e+19"),
        (float("inf"), "+Inf"),
    ],
)
def test_numbers_are_printed_as_go_prints_them(value: float, text: str) -> None:
    page = Metrics([Source([Sample("a", "", value)])], CallMetrics({})).render().decode()
    assert f"\na {text}\n" in page


def test_families_are_sorted_and_what_labels_and_help_hold_is_escaped() -> None:
    given = [
        Sample("b", "", 1, {"y": "1", "x": 'a"\\\n'}),
        Sample("a", "one\ntwo", 2, counter=True),
    ]
    page = Metrics([Source(given)], CallMetrics({})).render().decode()
    assert page.startswith(
        "# HELP a one\\ntwo\n# TYPE a counter\na 2\n"
        '# HELP b \n# TYPE b gauge\nb{x="a\\"\\\\\\n",y="1"} 1\n'
    )
    assert samples(given)["b", (("x", 'a"\\\n'), ("y", "1"))] == 1


def test_the_process_is_measured_too() -> None:
    found = {sample.name: sample.value for sample in ProcessSamples().read()}
    assert found["process_open_fds"] == found["os_fd_used"] > 0
    assert found["process_max_fds"] == found["os_fd_limit"] > 0
    assert found["process_virtual_memory_max_bytes"] >= found["process_virtual_memory_bytes"]
    assert found["process_network_receive_bytes_total"] >= 0


def test_a_histogram_counts_what_is_at_or_below_each_bound_for_each_of_its_labels() -> None:
    seen = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        seen.observe(value)
    found = samples([Histogram("h", "", seen, {"To": "a"}), Histogram("h", "", seen, {"To": "b"})])
    for peer in "ab":
        label = ("To", peer)
        assert [found["h_bucket", (label, ("le", bound))] for bound in ("1", "2", "+Inf")] == [
            2,
            3,
            4,
        ]
        assert found["h_sum", (label,)] == 12 and found["h_count", (label,)] == 4


def test_bounds_are_computed_as_by_the_client_for_go() -> None:
    assert exponential(0.0001, 2, 4) == (0.0001, 0.0002, 0.0004, 0.0008)
    assert len(DISK_SECONDS) == 14 and DISK_SECONDS[-1] == 8.192


def test_messages_and_bytes_of_calls_are_counted_as_etcd_counts_them() -> None:
    put = Unary(rpc.PutRequest, lambda request, call: b"")
    watch = BidiStream(rpc.WatchRequest, lambda call, responses: None)  # type: ignore[arg-type, return-value]
    put.counts.start()
    put.counts.finish(Code.OK)
    put.counts.start()
    put.counts.finish(Code.NOT_FOUND)
    put.counts.received_bytes, put.counts.sent_bytes = 30, 7
    watch.counts.stream_received, watch.counts.stream_sent = 5, 6
    watch.counts.received_bytes, watch.counts.sent_bytes = 3, 4
    found = samples([], CallMetrics({"/s.S/Put": put, "/s.S/Watch": watch}))
    by_method = {
        (name, dict(labels)["grpc_method"]): value
        for (name, labels), value in found.items()
        if "_msg_" in name
    }
    assert by_method == {
        ("grpc_server_msg_received_total", "Put"): 2,
        ("grpc_server_msg_sent_total", "Put"): 1,
        ("grpc_server_msg_received_total", "Watch"): 5,
        ("grpc_server_msg_sent_total", "Watch"): 6,
    }
    assert found["etcd_network_client_grpc_received_bytes_total", ()] == 33
    assert found["etcd_network_client_grpc_sent_bytes_total", ()] == 11


def test_calls_are_timed_from_their_request_to_their_response_or_refusal() -> None:
    async def main() -> None:
        answer: Pending[bytes] = Pending()

        def refuse(request: object, call: Call) -> bytes:
            raise EMPTY_KEY()

        async def later(request: object, call: Call) -> bytes:
            return b""

        table = timed(
            {
                "/s.S/Now": Unary(rpc.PutRequest, lambda request, call: b""),
                "/s.S/Pending": Unary(rpc.PutRequest, lambda request, call: answer),
                "/s.S/Refused": Unary(rpc.PutRequest, refuse),
                "/s.S/Later": Unary(rpc.PutRequest, later),
            }
        )
        call = Call({}, b"", None, Caller("test"))
        responses = {}
        for path, method in table.items():
            assert isinstance(method, Unary)
            with contextlib.suppress(EtcdError):
                responses[path] = method.call(rpc.PutRequest(), call)

        def counted() -> dict[str, int]:
            return {
                path.removeprefix("/s.S/"): sum(method.counts.seconds.counts)  # type: ignore[union-attr]
                for path, method in table.items()
            }

        assert counted() == {"Now": 1, "Pending": 0, "Refused": 1, "Later": 0}
        answer.cancel()
        await responses["/s.S/Later"]  # type: ignore[misc]
        await asyncio.sleep(0)
        assert counted() == {"Now": 1, "Pending": 1, "Refused": 1, "Later": 1}
        found = samples([], CallMetrics(table))
        assert ("grpc_server_handling_seconds_count",) in {(name,) for name, _ in found}

    asyncio.run(main())
