"""The log line of a slow call: etcd's fields, no values, a bounded number."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from rusd.proto import rpc_pb2 as rpc
from rusd.proto.nested_txn import txn_request
from rusd.rpc.request_log import LARGEST, PER_SECOND, SHOWN, RequestLog
from tests.support.nested_txns import nested

KV = "/etcdserverpb.KV/"
SECRET = b"what nobody may read"


class Log:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="rusd.rpc.request_log")
        self._caplog = caplog
        self.now = 1_700_000_000.25
        self.log = RequestLog(0.3, lambda: self.now)

    def slow(self, method: str, request: Message) -> dict[str, Any]:
        self.log.slow(method, request.SerializeToString(), "127.0.0.1:7", 0.301234, 9)
        return self.lines[-1]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [record.fields for record in self._caplog.records]  # type: ignore[attr-defined]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


def test_a_line_has_the_fields_of_etcd(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    line = log.slow(KV + "Range", rpc.RangeRequest(key=b"k", limit=2))
    assert line == {
        "start time": "2023-11-14T22:13:19.948Z",
        "time spent": "301.234ms",
        "remote": "127.0.0.1:7",
        "response type": KV + "Range",
        "request count": 0,
        "request size": 5,
        "response size": 9,
        "request content": 'key: "k" limit: 2',
    }
    assert caplog.records[0].getMessage() == "request stats"
    assert caplog.records[0].levelno == logging.WARNING


PUT = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=SECRET))
INNER = rpc.RequestOp(request_txn=rpc.TxnRequest(failure=[PUT]))
COMPARE = rpc.Compare(key=b"k", target=rpc.Compare.VALUE, value=SECRET)


@pytest.mark.parametrize(
    ("method", "request_", "writes"),
    [
        ("Put", PUT.request_put, 1),
        ("Txn", rpc.TxnRequest(compare=[COMPARE], success=[PUT, INNER]), 2),
    ],
)
def test_values_are_shown_by_their_sizes(
    log: Log, method: str, request_: Message, writes: int
) -> None:
    line = log.slow(KV + method, request_)
    assert "nobody" not in str(line)
    assert f"({len(SECRET)} bytes)" in line["request content"]
    assert line["request count"] == writes


def test_requests_of_other_services_are_not_shown(log: Log) -> None:
    line = log.slow("/etcdserverpb.Auth/UserAdd", rpc.PutRequest(key=SECRET))
    assert (line["request content"], line["request size"], line["response size"]) == ("", -1, -1)


def test_long_requests_are_cut(log: Log) -> None:
    long = log.slow(KV + "Put", rpc.PutRequest(key=bytes(LARGEST // 2)))
    assert len(long["request content"]) == SHOWN + 1
    longest = log.slow(KV + "Put", rpc.PutRequest(value=bytes(LARGEST)))
    assert longest["request content"] == f"({longest['request size']} bytes)"


def test_a_request_is_shown_as_the_library_shows_it(log: Log) -> None:
    keys = rpc.Compare(key=b"a", range_end=b'b\x00"', target=rpc.Compare.LEASE, lease=7)
    request = rpc.TxnRequest(compare=[COMPARE, keys], success=[PUT, INNER], failure=[INNER, PUT])
    shown = log.slow(KV + "Txn", request)["request content"]
    whole = text_format.MessageToString(request, as_one_line=True)
    assert shown == whole.replace(f'"{SECRET.decode()}"', f'"({len(SECRET)} bytes)"')


def test_no_more_of_a_request_is_formatted_than_is_shown(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library takes some 10 ms for a transaction of 128 puts."""
    formatted = []
    format_ = text_format.MessageToString

    def counted(message: Message, **options: Any) -> str:
        formatted.append(format_(message, **options))
        return formatted[-1]

    monkeypatch.setattr(text_format, "MessageToString", counted)
    log.slow(KV + "Txn", rpc.TxnRequest(success=[PUT] * 500))
    assert 0 < sum(map(len, formatted)) <= SHOWN


@pytest.mark.parametrize("deep", [30, 90, 127])
def test_nested_txns_are_shown_or_cut_at_any_depth(log: Log, deep: int) -> None:
    line = log.slow(KV + "Txn", txn_request(nested(deep)))
    assert line["request size"] == len(nested(deep))
    assert line["request content"]


def test_a_storm_of_slow_calls_is_counted_instead_of_written(log: Log) -> None:
    for _ in range(PER_SECOND + 7):
        log.slow(KV + "Range", rpc.RangeRequest())
    assert len(log.lines) == PER_SECOND
    log.now += 1
    assert log.slow(KV + "Range", rpc.RangeRequest())["left-out"] == 7


def test_at_level_debug_every_call_is_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rusd.rpc.request_log")
    assert RequestLog(0.3, lambda: 0.0).threshold == 0
