"""/health, /livez, /readyz, /version and /debug/vars beside etcd's, byte for byte."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from rusd.proto import health_pb2 as health
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.pair import Pair, require_newer_oracle

PROBES = [
    "/health",
    "/health?serializable=true",
    "/health?serializable=TRUE",
    "/health?serializable",
    "/health?exclude=NOSPACE",
    "/health?exclude=NOSPACE&exclude=CORRUPT",
    "/health?exclude=&exclude=nosuch",
    "/health?exclude=nospace",
    "/health?exclude=NOSPACE,CORRUPT",
    "/health?verbose",
    "/health/",
    "/healthz",
    *(
        probe + rest
        for probe in ("/livez", "/readyz")
        for rest in (
            "",
            "/",
            "?verbose",
            "?verbose=false",
            "?verbose=&verbose=1",
            "?Verbose",
            "?exclude=serializable_read",
            "?exclude=serializable_read&verbose",
            "?exclude=data_corruption",
            "?exclude=data_corruption&exclude=linearizable_read&verbose",
            "?exclude=",
            "?exclude=nosuch&verbose",
            "?exclude=data_corruption,linearizable_read&verbose",
            "?allowlist=serializable_read&verbose",
            "?serializable=true",
            "/serializable_read",
            "/serializable_read?verbose",
            "/serializable_read/",
            "/linearizable_read?verbose",
            "/data_corruption?verbose",
            "/data_corruption?exclude=data_corruption",
            "/non_learner?verbose",
            "/nosuch",
            "/nosuch?verbose",
            "/SERIALIZABLE_READ",
        )
    ),
    "/debug/nosuch",
    "/debug",
    "/debug/pprof/",
]
#: Set by the connection, not by the page.
_IGNORED = ("date", "connection", "transfer-encoding", "content-length")


@pytest.fixture(scope="module")
def newer() -> Iterator[Pair]:
    require_newer_oracle()
    both = Pair()
    try:
        with both.example():
            yield both
    finally:
        both.stop()


def ask(client: Client, method: str, target: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(client.endpoint, timeout=15)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        for name in _IGNORED:
            headers.pop(name, None)
        # The checks of one answer are in no order in etcd.
        body = b"".join(sorted(response.read().splitlines(keepends=True)))
        return response.status, headers, body
    finally:
        connection.close()


def compare(pair: Pair, method: str = "GET", targets: Sequence[str] = PROBES) -> None:
    differences = []
    for target in targets:
        mine, theirs = (ask(side, method, target) for side in (pair.rusd, pair.etcd))
        if mine != theirs:
            differences.append(f"{method} {target}\n rusd: {mine}\n etcd: {theirs}")
    assert not differences, "\n".join(differences)


@contextmanager
def alarm(pair: Pair, kind: int) -> Iterator[None]:
    def change(action: int) -> None:
        for side in (pair.rusd, pair.etcd):
            request = rpc.AlarmRequest(
                action=action,  # type: ignore[arg-type]
                memberID=side.status().header.member_id,
                alarm=kind,  # type: ignore[arg-type]
            )
            side.call("/etcdserverpb.Maintenance/Alarm", request, rpc.AlarmResponse)

    change(rpc.AlarmRequest.ACTIVATE)
    try:
        yield
    finally:
        change(rpc.AlarmRequest.DEACTIVATE)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_every_probe_of_a_healthy_member_is_answered_as_by_etcd(newer: Pair, method: str) -> None:
    compare(newer, method)


@pytest.mark.parametrize("kind", [rpc.NOSPACE, rpc.CORRUPT])
def test_every_probe_of_a_member_with_an_alarm_is_answered_as_by_etcd(
    newer: Pair, kind: int
) -> None:
    with alarm(newer, kind):
        compare(newer)
    compare(newer)


def test_each_of_two_alarms_is_excluded_alone_as_by_etcd(newer: Pair) -> None:
    """Which of two alarms is told first is left to chance in etcd."""
    with alarm(newer, rpc.NOSPACE), alarm(newer, rpc.CORRUPT):
        excluding = [f"/health?exclude={name}" for name in ("NOSPACE", "CORRUPT")]
        compare(newer, targets=[*excluding, f"{excluding[0]}&exclude=CORRUPT", "/readyz?verbose"])


def test_the_version_page_is_that_of_etcd_but_for_the_release(newer: Pair) -> None:
    for method in ("GET", "HEAD", "POST"):
        mine, theirs = (ask(side, method, "/version") for side in (newer.rusd, newer.etcd))
        assert mine[:2] == theirs[:2]
        if method == "GET":
            assert json.loads(mine[2]).keys() == json.loads(theirs[2]).keys()
        else:
            assert mine[2] == theirs[2]


def test_the_debug_variables_have_the_shape_of_etcds_without_those_of_go(newer: Pair) -> None:
    mine, theirs = (ask(side, "GET", "/debug/vars") for side in (newer.rusd, newer.etcd))
    assert mine[:2] == theirs[:2]

    def read(side: Client) -> tuple[bytes, dict[str, Any]]:
        connection = http.client.HTTPConnection(side.endpoint, timeout=15)
        connection.request("GET", "/debug/vars")
        body = connection.getresponse().read()
        connection.close()
        return body, json.loads(body)

    (text, found), (_, expected) = read(newer.rusd), read(newer.etcd)
    assert text.startswith(b'{\n"cmdline": ["') and text.endswith(b"\n}\n")
    assert list(found) == [name for name in expected if name != "memstats"]
    status = found["raft.status"]
    assert status.keys() <= expected["raft.status"].keys()
    assert status["raftState"] == expected["raft.status"]["raftState"] == "StateLeader"
    assert status["id"] == status["lead"] and status["applied"] <= status["commit"]
    assert found["file_descriptor_limit"] == expected["file_descriptor_limit"]
    assert found["cmdline"][1:] and "--name" in " ".join(found["cmdline"])
    for method in ("POST", "HEAD"):
        assert ask(newer.rusd, method, "/debug/vars") == ask(newer.etcd, method, "/debug/vars")


def test_the_grpc_health_service_knows_what_etcds_knows(newer: Pair) -> None:
    check, listing = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List"

    def both(path: str, request: Any, answer: Any) -> Any:
        found = []
        for side in (newer.rusd, newer.etcd):
            try:
                found.append(side.call(path, request, answer))
            except Refused as refused:
                found.append(refused)
        assert found[0] == found[1]
        return found[0]

    for service in ("", "etcdserverpb.KV", "v3lockpb.Lock", "grpc.health.v1.Health", "nosuch"):
        both(check, health.HealthCheckRequest(service=service), health.HealthCheckResponse)
        watched = []
        for side in (newer.rusd, newer.etcd):
            call = side.channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=health.HealthCheckResponse.FromString,
            )(health.HealthCheckRequest(service=service), timeout=15)
            watched.append(next(call))
            call.cancel()
        assert watched[0] == watched[1]
    assert both(listing, health.HealthListRequest(), health.HealthListResponse).statuses
    for version in ("v1", "v1alpha"):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        refused = both(path, health.HealthListRequest(), health.HealthListResponse)
        assert isinstance(refused, Refused) and refused.code == "UNIMPLEMENTED"
