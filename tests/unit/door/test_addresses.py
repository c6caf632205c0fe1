"""Listen URLs as addresses to bind."""

from __future__ import annotations

import errno
import socket

import pytest

from rusd.door.addresses import bindable
from tests.unit.door.toys import free_port


def test_an_address_is_itself() -> None:
    port = free_port()
    assert bindable(f"http://127.0.0.1:{port}") == [f"127.0.0.1:{port}"]


def test_a_name_is_every_address_it_stands_for() -> None:
    port = free_port()
    assert f"127.0.0.1:{port}" in bindable(f"http://localhost:{port}")


def test_no_host_is_every_address() -> None:
    port = free_port()
    assert bindable(f"http://:{port}") == [f"0.0.0.0:{port}"]


def test_a_unix_socket_is_a_path() -> None:
    assert bindable("unix:///run/rusd.sock") == ["unix:/run/rusd.sock"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_name_is_taken_if_one_of_its_addresses_is(host: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"http://{host}:{other.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {url}") as error:
            bindable(url)
        assert error.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="no such address here"):
        bindable(f"http://192.0.2.1:{free_port()}")
