"""Listening sockets of URLs, and connections to them."""

import asyncio
import errno
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rusd.base import sockets
from rusd.base.sockets import Bound, connect, open_streams, shown
from tests.support.ports import free_port
from tests.unit.door.toys import ipv6


def names(url: str) -> list[Any]:
    with closing(Bound(url)) as bound:
        return [each.getsockname() for each in bound.sockets]


def test_an_address_is_one_socket() -> None:
    port = free_port()
    assert names(f"http://127.0.0.1:{port}") == [("127.0.0.1", port)]


def test_an_ipv4_address_in_its_ipv6_form_is_that_address() -> None:
    port = free_port()
    assert names(f"http://[::ffff:127.0.0.1]:{port}") == [("127.0.0.1", port)]


def test_a_name_is_a_socket_at_every_address_it_stands_for() -> None:
    port = free_port()
    assert ("127.0.0.1", port) in names(f"http://localhost:{port}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::]"])
def test_a_name_is_taken_if_one_of_its_addresses_is(host: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"http://{host}:{other.getsockname()[1]}"
        with pytest.raises(OSError) as error:
            Bound(url)
        assert str(error.value).endswith(f"cannot listen on {url}: Address already in use")
        assert error.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://192.0.2.1:0", "no such address here"),
        ("unix:a", "it names no file"),
        ("unix:///nonexistent/socket", "No such file or directory"),
    ],
)
def test_what_cannot_be_listened_on_is_named(url: str, reason: str) -> None:
    with pytest.raises(OSError, match="cannot listen on") as error:
        Bound(url)
    assert url in str(error.value) and reason in str(error.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0:0::0]", ""])
def test_a_wildcard_is_one_socket_for_both_families(host: str) -> None:
    port = free_port()
    with closing(Bound(f"http://{host}:{port}")) as bound:
        [one] = bound.sockets
        families = ["127.0.0.1", "::1"] if ipv6() else ["127.0.0.1"]
        for address in families:
            socket.create_connection((address, port), timeout=10).close()
            accepted, peer = one.accept()
            accepted.close()
            assert shown(peer).rpartition(":")[0].strip("[]") == address


def test_without_ipv6_a_wildcard_is_ipv4_and_its_ipv6_form_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket

    def without(family: int = -1, *rest: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **options)

    port = free_port()
    monkeypatch.setattr(sockets.socket, "socket", without)
    assert names(f"http://0.0.0.0:{port}") == [("0.0.0.0", port)]
    with pytest.raises(OSError, match="Address family not supported"):
        Bound(f"http://[::]:{port}")


def test_a_url_that_asks_for_tls_is_not_reached_in_plaintext() -> None:
    async def body() -> None:
        for url in ("HTTPS://127.0.0.1:1", "unixs:///a"):
            with pytest.raises(ConnectionError, match="no TLS"):
                await connect(asyncio.Protocol, url)
            with pytest.raises(ConnectionError, match="no TLS"):
                await open_streams(url)

    asyncio.run(body())


def test_connections_reach_tcp_and_unix_sockets(tmp_path: Path) -> None:
    async def body() -> None:
        for url in (f"http://127.0.0.1:{free_port()}", f"unix://{tmp_path}/s"):
            with closing(Bound(url)):
                protocol = await connect(asyncio.Protocol, url)
                assert isinstance(protocol, asyncio.Protocol)
                _, writer = await open_streams(url)
                writer.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1:5"),
        ("", "unix:"),
        ("/a", "unix:/a"),
        (None, "unix:"),
    ],
)
def test_the_other_end_is_shown_as_its_user_knows_it(name: object, text: str) -> None:
    assert shown(name) == text


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_shared_by_all_that_ask_for_it_and_by_no_other(host: str) -> None:
    url = f"http://{host}:{free_port()}"
    with closing(Bound(url, reuse_port=True)), closing(Bound(url, reuse_port=True)) as second:
        for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
            assert second.sockets[0].getsockopt(socket.SOL_SOCKET, option)
        with pytest.raises(OSError, match="Address already in use"):
            Bound(url)
