"""The meaning of a request's headers: method, deadline, page or refusal."""

from __future__ import annotations

import pytest
from hpack import Decoder

from rusd.door.grpc import status
from rusd.door.grpc.request_headers import CallHeaderParser, CallHeaders, seconds
from rusd.door.h2 import Request
from rusd.door.http.access import Origins
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.methods import Unary

METHOD = Unary(rpc.PutRequest, lambda request, call: b"")
PATH = "/etcdserverpb.KV/Put"


def opening(
    path: str = PATH,
    method: str = "POST",
    pages: bool = False,
    origins: tuple[str, ...] = (),
    **fields: str,
) -> CallHeaders:
    headers = {"content-type": "application/grpc", "te": "trailers"}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    request = Request(method, "http", "here", path, list(headers.items()))
    return CallHeaderParser({PATH: METHOD}, Origins(origins), pages=pages)(request)


def refused(one: CallHeaders) -> tuple[Code, str]:
    assert one.refusal is not None
    return one.refusal.code, one.refusal.message


def test_a_path_names_its_method() -> None:
    assert opening().method is METHOD
    assert opening().refusal is None


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://here"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "https://here"},
    ],
)
def test_a_page_of_another_origin_calls_no_method(fields: dict[str, str]) -> None:
    """Over TLS a page can send what gRPC sends, and need not read the answer."""
    assert refused(opening(**fields))[0] == Code.PERMISSION_DENIED
    assert opening(origins=("*",), **fields).refusal is None
    if "origin" in fields:
        assert opening(origins=(fields["origin"],), **fields).refusal is None


@pytest.mark.parametrize("fields", [{"origin": "https://here"}, {"sec_fetch_site": "same-origin"}])
def test_a_page_of_this_origin_may_call_a_method(fields: dict[str, str]) -> None:
    assert opening(**fields).method is METHOD
    assert opening(**fields).refusal is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("5S", 5), ("2M", 120), ("1H", 3600), ("250m", 0.25), ("7u", 7e-6), ("1n", 1e-9)],
)
def test_timeouts_have_units(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)
    assert opening(grpc_timeout=text).timeout == pytest.approx(value)


@pytest.mark.parametrize("text", ["5", "S", "", "abc", "-1S", "123456789S", "1.5S", "1 S"])
def test_a_timeout_of_another_form_is_malformed(text: str) -> None:
    one = opening(grpc_timeout=text)
    assert refused(one)[0] == Code.INTERNAL
    assert refused(one)[1].startswith("malformed grpc-timeout: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'transport: timeout string is too short: ""'),
        ("999999999S", 'transport: timeout string is too long: "999999999S"'),
        ("1x", 'transport: timeout unit is not recognized: "1x"'),
        ("-1S", 'strconv.ParseUint: parsing "-1": invalid syntax'),
    ],
)
def test_a_malformed_timeout_is_refused_in_grpc_gos_words(text: str, why: str) -> None:
    one = opening(grpc_timeout=text)
    assert refused(one) == (Code.INTERNAL, f"malformed grpc-timeout: {why}")
    assert one.status == 400


def test_no_time_at_all_has_passed_already() -> None:
    assert refused(opening(grpc_timeout="0m"))[0] == Code.DEADLINE_EXCEEDED


def test_services_see_metadata_but_not_the_transports_headers() -> None:
    fields = {"who": "me", "grpc_encoding": "gzip", "token_bin": "AAA"}
    one = opening(**fields)
    assert one.metadata == {"who": "me"}
    assert one.encoding == "gzip"


@pytest.mark.parametrize(
    "kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=x"]
)
def test_content_types_of_grpc(kind: str) -> None:
    assert opening(content_type=kind).method is METHOD


@pytest.mark.parametrize(
    "kind", ["", "application/json", "Application/gRPC", "application/grpc-web", "text/html"]
)
def test_anything_else_is_a_page_or_refused(kind: str) -> None:
    one = opening(content_type=kind)
    assert one.status == 415
    assert refused(one) == (
        Code.INVALID_ARGUMENT,
        f'invalid gRPC request content-type "{kind}"',
    )
    assert opening("/health", "GET", pages=True, content_type=kind).page[:2] == ("GET", "/health")


def test_only_post_calls_a_method() -> None:
    one = opening(method="GET")
    assert one.status == 405
    assert refused(one)[0] == Code.INTERNAL


def test_an_empty_compression_is_none() -> None:
    one = opening(grpc_encoding="")
    assert (one.method, one.refusal, one.encoding) == (METHOD, None, "identity")


def test_an_unknown_compression_is_unimplemented() -> None:
    assert refused(opening(grpc_encoding="snappy")) == (
        Code.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        ("/no.Such/Put", "unknown service no.Such"),
        ("/x", 'malformed method name: "/x"'),
        (PATH[1:], f'malformed method name: "{PATH[1:]}"'),
    ],
)
def test_what_is_not_there_is_unimplemented(path: str, text: str) -> None:
    assert refused(opening(path)) == (Code.UNIMPLEMENTED, text)


def test_a_status_is_readable_by_any_decoder_at_any_time() -> None:
    decoder = Decoder()
    for _ in range(2):
        assert list(decoder.decode(status.HEAD)) == [
            (":status", "200"),
            ("content-type", "application/grpc"),
        ]
        assert list(decoder.decode(status.OK)) == [("grpc-status", "0")]


def test_a_message_of_a_status_is_percent_encoded() -> None:
    refusal = EtcdError(Code.UNKNOWN, "50% of é\n")
    fields = dict(Decoder().decode(status.last_headers(refusal, begun=True)))
    assert fields == {"grpc-status": "2", "grpc-message": "50%25 of %C3%A9%0A"}


def test_an_answer_without_a_message_is_one_block() -> None:
    fields = dict(Decoder().decode(status.last_headers(None, begun=False)))
    assert fields == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "0",
    }
