"""Whose web pages may act, by the `:authority` and the `Host` of a request over HTTP/2."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from cluster.local import LocalCluster

PUT = b'{"key":"YQ==","value":"MQ=="}'


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with LocalCluster(1) as one:
        host, _, port = one.endpoints[0].rpartition(":")
        yield host, int(port)


def put(address: tuple[str, int], *fields: tuple[str, str]) -> tuple[int, bytes]:
    """A put by a page, with the fields as they are; returns its status and body."""
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(config)
    pseudo = [field for field in fields if field[0].startswith(":")]
    usual = [(":method", "POST"), (":scheme", "http"), (":path", "/v3/kv/put")]
    status, body = 0, b""
    with socket.create_connection(address, 20) as peer:
        connection.initiate_connection()
        connection.send_headers(1, [*usual, *pseudo, *(f for f in fields if f not in pseudo)])
        connection.send_data(1, PUT, end_stream=True)
        peer.sendall(connection.data_to_send())
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return status, body
            peer.sendall(connection.data_to_send())
    raise ConnectionResetError


def named(authority: str, origin: str) -> tuple[tuple[str, str], ...]:
    return (":authority", authority), ("origin", origin)


@pytest.mark.parametrize(
    "fields",
    [
        named("127.0.0.1:1", "http://127.0.0.1:1"),
        named("LOCALHOST:1", "http://localhost:1"),
        named("localhost.:1", "http://localhost.:1"),
        named("localhost:80", "http://localhost"),
        named("localhost", "http://localhost:80"),
        named("[::1]:1", "http://[::1]:1"),
        named("[::1]", "http://[::1]"),
        named("[FE80::1]:80", "http://[fe80::1]"),
        # The authority decides: what a proxy left in Host does not.
        (*named("127.0.0.1:1", "http://127.0.0.1:1"), ("host", "evil.example")),
        # Without it, Host does.
        (("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")),
        # No browser.
        ((":authority", "evil.example"),),
        (),
    ],
)
def test_a_page_of_this_origin_may_write(
    address: tuple[str, int], fields: tuple[tuple[str, str], ...]
) -> None:
    status, body = put(address, *fields)
    assert status == 200
    assert json.loads(body)["header"]["revision"]


@pytest.mark.parametrize(
    "fields",
    [
        named("127.0.0.1:1", "http://127.0.0.1:2"),
        named("127.0.0.1:1", "http://127.0.0.1"),
        named("127.0.0.1", "https://127.0.0.1"),
        named("evil.example:1", "http://evil.example:1"),
        named("user@127.0.0.1:1", "http://127.0.0.1:1"),
        named("::1", "http://[::1]"),
        named("127.0.0.1:1", "null"),
        # Host does not stand in for an authority that differs, whichever of them is evil.
        (*named("127.0.0.1:1", "http://evil.example"), ("host", "evil.example")),
        (*named("evil.example", "http://127.0.0.1:1"), ("host", "127.0.0.1:1")),
        (*named("localhost:1", "http://localhost:2"), ("host", "localhost:2")),
        # An empty authority, or none at all, is no origin.
        (*named("", "http://evil.example"),),
        (("origin", "http://evil.example"),),
        (("origin", "http://"),),
        (*named("127.0.0.1:1", "http://127.0.0.1:1"), ("sec-fetch-site", "cross-site")),
    ],
)
def test_a_page_of_another_origin_may_not(
    address: tuple[str, int], fields: tuple[tuple[str, str], ...]
) -> None:
    status, body = put(address, *fields)
    assert (status, json.loads(body)["code"]) == (403, 7)
