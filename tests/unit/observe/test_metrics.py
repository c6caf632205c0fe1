"""The page of /metrics."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rusd.observe.metrics import CallMetrics, Metrics, Sample
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import Code
from rusd.rpc.methods import BidiStream, CallCounts, ServerStream, Unary

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(samples: Iterable[Sample], calls: CallMetrics | None = None) -> Samples:
    """(name, sorted labels) -> value, as a scraper reads them."""
    page = Metrics(lambda: list(samples), calls or CallMetrics({})).render().decode()
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
    page = Metrics(lambda: [Sample("a", "", value)], CallMetrics({})).render().decode()
    assert f"\na {text}\n" in page


def test_families_are_sorted_and_what_labels_and_help_hold_is_escaped() -> None:
    given = [
        Sample("b", "", 1, {"y": "1", "x": 'a"\\\n'}),
        Sample("a", "one\ntwo", 2, counter=True),
    ]
    page = Metrics(lambda: given, CallMetrics({})).render().decode()
    assert page.startswith(
        "# HELP a one\\ntwo\n# TYPE a counter\na 2\n"
        '# HELP b \n# TYPE b gauge\nb{x="a\\"\\\\\\n",y="1"} 1\n'
    )
    assert samples(given)["b", (("x", 'a"\\\n'), ("y", "1"))] == 1


def test_the_process_is_measured_too() -> None:
    assert ("process_open_fds", ()) in samples([])
