"""Listening on URLs, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from cluster.certificates import DAY, Authority, Identity
from rusd.door.lateness import LATE_SECONDS
from rusd.door.listen import admission, listener
from rusd.door.listen.listener import Listeners
from rusd.door.listen.tls_listener import HANDSHAKES
from rusd.door.tls.context import ClientTls, TlsOptions
from tests.support.certificates import UNREADABLE_NAMES
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.clock import on_a_clock, the_clock
from tests.unit.door.toys import ipv6

Run = Callable[[Coroutine[Any, Any, None]], None]

REJECTED = "rejected connection on client endpoint"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return run


class Echo(asyncio.Protocol):
    """Sends back what it gets; counts connections, remembers the last transport."""

    made: list[asyncio.Transport]

    def __init__(self, made: list[asyncio.Transport]) -> None:
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made.append(self.transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Echoes(Listeners):
    def __init__(self) -> None:
        super().__init__(unexpected)
        self.made: list[asyncio.Transport] = []

    async def on(self, *urls: str, tls: ClientTls | ssl.SSLContext | None = None) -> None:
        await self.listen(urls, lambda: Echo(self.made), tls)

    def shut(self) -> None:
        self.close()
        for transport in self.made:
            transport.abort()


async def says(connecting: Coroutine[Any, Any, Any], text: bytes = b"hello") -> bytes:
    """Return the echo over a new connection; b"" if it is closed instead."""
    reader, writer = await connecting
    try:
        writer.write(text)
        return await reader.readexactly(len(text))
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


async def echoed(client: Any) -> bool:
    """Return whether a connection is served; it stays open."""
    reader, writer = client
    try:
        writer.write(b"x")
        return bool(await reader.read(1))
    except ConnectionError:
        return False


def tcp(port: int, context: ssl.SSLContext | None = None) -> Coroutine[Any, Any, Any]:
    return asyncio.open_connection("127.0.0.1", port, ssl=context)


def unix(path: Path, context: ssl.SSLContext | None = None) -> Coroutine[Any, Any, Any]:
    name = None if context is None else "localhost"
    return asyncio.open_unix_connection(str(path), ssl=context, server_hostname=name)


def trusting(authority: Authority, identity: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.cert)
    if identity is not None:
        context.load_cert_chain(identity.cert, identity.key)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def tls(authority: Authority) -> ClientTls:
    server = authority.issue("server", ["127.0.0.1", "localhost"])
    return ClientTls(TlsOptions(cert_file=server.cert, key_file=server.key))


def test_every_url_gets_the_same_kind_of_protocol(
    run: Run, tmp_path: Path, authority: Authority, tls: ClientTls
) -> None:
    async def main() -> None:
        plain, secure = free_port(), free_port()
        one, two = tmp_path / "one.sock", tmp_path / "two.sock"
        echoes = Echoes()
        urls = (f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}")
        await echoes.on(*urls, f"unix://{one}", f"unixs://{two}", tls=tls)
        context = trusting(authority)
        connections = (tcp(plain), tcp(secure, context), unix(one), unix(two, context))
        assert [await says(each) for each in connections] == [b"hello"] * 4
        assert len(echoes.made) == 4
        echoes.shut()

    run(main())


def test_http_and_https_share_one_address(
    run: Run, tmp_path: Path, authority: Authority, tls: ClientTls
) -> None:
    async def main() -> None:
        port, path = free_port(), tmp_path / "both.sock"
        echoes = Echoes()
        urls = (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}")
        await echoes.on(*urls, f"unix://{path}", f"unixs://{path}", tls=tls)
        context = trusting(authority)
        connections = (tcp(port), tcp(port, context), unix(path), unix(path, context))
        for text in (b"x", b"hello", b"z" * 100_000):
            assert [await says(each, text) for each in connections] == [text] * 4
            connections = (tcp(port), tcp(port, context), unix(path), unix(path, context))
        for each in connections:
            each.close()
        assert len(echoes.made) == 12
        echoes.shut()
        assert not path.exists()
        with pytest.raises(ConnectionRefusedError):
            await says(tcp(port))

    run(main())


def test_on_a_shared_address_a_silent_or_broken_client_disturbs_no_other(
    run: Run, authority: Authority, tls: ClientTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.2)

    async def main() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.append(told))
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", tls=tls)
        silent, _ = await tcp(port)
        stalled, stalled_writer = await tcp(port)
        stalled_writer.write(b"\x16\x03\x01")
        _, gone = await tcp(port)
        gone.close()
        assert await says(tcp(port, trusting(authority))) == b"hello"
        assert await says(tcp(port)) == b"hello"
        for reader in (silent, stalled):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
        stalled_writer.close()
        assert failures == []
        echoes.shut()

    run(main())


def test_a_silent_tls_client_is_closed_with_a_line_but_not_by_a_late_timer(
    authority: Authority, tls: ClientTls, caplog: pytest.LogCaptureFixture
) -> None:
    """After the process stood still, first bytes may wait in the kernel."""
    caplog.set_level("DEBUG", "rusd.door.closings")

    def reasons() -> list[str]:
        ends = [each for each in caplog.records if each.name == "rusd.door.closings"]
        return [getattr(each, "fields", {})["reason"] for each in ends]

    async def main() -> None:
        port, clock = free_port(), the_clock()
        echoes = Echoes()
        await echoes.on(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", tls=tls)
        silent, _ = await tcp(port)
        late, writer = await tcp(port)
        assert await says(tcp(port)) == b"hello"  # (the others were accepted before)
        clock.ahead += 10 * listener.HANDSHAKE_SECONDS
        assert await says(tcp(port)) == b"hello"
        assert not reasons()
        writer.write(b"x")
        assert await late.readexactly(1) == b"x"
        clock.ahead += LATE_SECONDS
        assert await silent.read(1) == b""
        assert reasons() == ["no first bytes in time"]
        echoes.shut()

    on_a_clock(main)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_wildcard_is_reached_over_both_families(run: Run, host: str) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://{host}:{port}")
        for name in ("127.0.0.1", "::1") if ipv6() else ("127.0.0.1",):
            assert await says(asyncio.open_connection(name, port)) == b"hello"
        echoes.shut()

    run(main())


def test_a_name_is_listened_on_at_every_address_it_has(run: Run) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://localhost:{port}")
        found = {each[4][0] for each in socket.getaddrinfo("localhost", port)}
        for host in found:
            assert await says(asyncio.open_connection(host, port)) == b"hello"
        echoes.shut()

    run(main())


def test_an_address_that_is_taken_is_named_and_nothing_is_left_listening(
    run: Run, tmp_path: Path
) -> None:
    async def main() -> None:
        port, path = free_port(), tmp_path / "one.sock"
        echoes = Echoes()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = f"http://127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(OSError, match=f"cannot listen on {taken}") as caught:
                await echoes.on(f"http://127.0.0.1:{port}", f"unix://{path}", taken)
        assert caught.value.errno == errno.EADDRINUSE
        assert not path.exists()
        await echoes.on(f"http://127.0.0.1:{port}")
        echoes.shut()

    run(main())


def test_a_second_call_that_fails_leaves_the_first_one_served(run: Run) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://127.0.0.1:{port}")
        with pytest.raises(OSError, match="cannot listen on"):
            await echoes.on(f"http://127.0.0.1:{port}")
        assert await says(tcp(port)) == b"hello"
        echoes.shut()

    run(main())


def test_https_without_a_certificate_is_refused(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="no certificate"):
            await Echoes().on(f"https://127.0.0.1:{free_port()}")

    run(main())


def test_accepted_sockets_send_at_once_and_notice_dead_clients(run: Run) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://127.0.0.1:{port}")
        assert await says(tcp(port)) == b"hello"
        accepted = echoes.made[0].get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        echoes.shut()

    run(main())


def test_after_close_no_connection_is_accepted_and_the_port_is_free(run: Run) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"http://127.0.0.1:{port}")
        assert await says(tcp(port)) == b"hello"
        echoes.shut()
        with pytest.raises(ConnectionRefusedError):
            await tcp(port)
        await echoes.on(f"http://127.0.0.1:{port}")
        assert await says(tcp(port)) == b"hello"
        echoes.shut()

    run(main())


def test_the_last_file_descriptors_are_not_for_clients(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        port, echoes = free_port(), Echoes()
        # Room for the listener and, as clients live here too, for two connections or three. (Free
        # numbers need not follow each other, and what earlier tests left may go at any time.)
        gc.collect()
        next_ones = [socket.socket() for _ in range(7)]
        limit = next_ones[-1].fileno()
        for one in next_ones:
            one.close()
        monkeypatch.setattr(admission, "RESERVED", soft - limit)
        await echoes.on(f"http://127.0.0.1:{port}")
        clients = [await tcp(port) for _ in range(6)]
        served = [await echoed(client) for client in clients]
        assert 0 < served.count(True) < 6
        assert served == sorted(served, reverse=True)
        for _, writer in clients:
            writer.close()
        while await says(tcp(port)) != b"hello":
            await asyncio.sleep(0)  # until the server has closed its side
        echoes.shut()

    run(main())


def test_a_process_that_may_open_few_files_does_not_start(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(admission, "RESERVED", soft)

    async def main() -> None:
        with pytest.raises(OSError, match="file descriptor limit is too low"):
            await Echoes().on(f"http://127.0.0.1:{free_port()}")

    run(main())


# -- unix sockets --------------------------------------------------------------------------------


def test_the_file_of_a_unix_socket_goes_when_it_is_closed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        echoes = Echoes()
        await echoes.on(f"unix://{path}")
        assert path.is_socket()
        echoes.shut()
        assert not path.exists()

    run(main())


def test_the_file_of_a_dead_process_is_replaced(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
        echoes = Echoes()
        await echoes.on(f"unix://{path}")
        assert await says(unix(path)) == b"hello"
        echoes.shut()

    run(main())


def test_the_socket_of_a_living_process_is_an_error_and_stays(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as alive:
            alive.bind(str(path))
            alive.listen()
            with pytest.raises(OSError, match=f"cannot listen on unix://{path}") as caught:
                await Echoes().on(f"unix://{path}")
            assert caught.value.errno == errno.EADDRINUSE
            assert path.is_socket()

    run(main())


def test_a_file_that_is_no_socket_is_never_removed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "precious"
        path.write_text("data")
        with pytest.raises(OSError, match="no socket"):
            await Echoes().on(f"unix://{path}")
        assert path.read_text() == "data"

    run(main())


def test_a_socket_of_another_process_is_not_removed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        echoes = Echoes()
        await echoes.on(f"unix://{path}")
        path.rename(tmp_path / "moved")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            echoes.shut()
            assert path.is_socket()

    run(main())


# -- TLS -----------------------------------------------------------------------------------------


def test_the_protocol_is_chosen_by_alpn(run: Run, authority: Authority, tls: ClientTls) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        for offered, agreed in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
            context = trusting(authority)
            context.set_alpn_protocols(offered)
            _, writer = await tcp(port, context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
            writer.close()
        echoes.shut()

    run(main())


def test_a_plaintext_client_on_a_tls_port_harms_no_other(
    run: Run, authority: Authority, tls: ClientTls
) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        assert await says(tcp(port), b"GET /health HTTP/1.1\r\n\r\n") == b""
        assert await says(tcp(port, trusting(authority))) == b"hello"
        assert len(echoes.made) == 1
        assert told == []
        echoes.shut()

    run(main())


def demanding(authority: Authority, **more: Any) -> ClientTls:
    server = authority.issue("server", ["127.0.0.1", "localhost"])
    return ClientTls(
        TlsOptions(
            cert_file=server.cert, key_file=server.key, trusted_ca_file=authority.cert, **more
        )
    )


async def admitted(port: int, context: ssl.SSLContext) -> bool:
    """Return whether a client with this context is admitted."""
    try:
        return await says(tcp(port, context)) == b"hello"
    except (ConnectionError, ssl.SSLError):
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_only_certificates_of_the_authority_are_admitted(
    run: Run, tmp_path: Path, authority: Authority, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=demanding(authority))
        stranger = Authority(tmp_path / "tls", "stranger").issue("mallory")
        for identity, welcome in (
            (authority.issue("alice"), True),
            (None, False),
            (stranger, False),
            (authority.issue("late", valid=-DAY), False),
        ):
            context = trusting(authority, identity)
            context.maximum_version = version
            assert await admitted(port, context) is welcome
        assert len(echoes.made) == 1
        echoes.shut()

    run(main())


def test_a_certificate_that_is_revoked_while_the_server_runs_is_refused_from_then_on(
    run: Run, authority: Authority
) -> None:
    async def main() -> None:
        alice, bob = authority.issue("alice"), authority.issue("bob")
        port = free_port()
        echoes = Echoes()
        tls = demanding(authority, crl_file=authority.revoke())
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        assert await admitted(port, trusting(authority, alice))
        authority.revoke(alice)
        assert not await admitted(port, trusting(authority, alice))
        assert await admitted(port, trusting(authority, bob))
        crl = authority.revoke()
        crl.write_bytes(b"broken")
        assert not await admitted(port, trusting(authority, bob))
        echoes.shut()

    run(main())


def test_a_revoked_certificate_that_tries_again_and_again_costs_few_lines(
    run: Run, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        port, alice = free_port(), authority.issue("alice")
        echoes = Echoes()
        tls = demanding(authority, crl_file=authority.revoke(alice))
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        context = trusting(authority, alice)
        for _ in range(60):
            assert not await admitted(port, context)
        echoes.shut()

    run(main())
    # Three in ten seconds.
    assert 0 < [record.message for record in caplog.records].count(REJECTED) <= 12


def test_a_certificate_must_be_for_an_allowed_name(run: Run, authority: Authority) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        tls = demanding(authority, allowed_hostnames=("api.example.org", "10.0.0.7"))
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        for hosts, welcome in (
            (["api.example.org"], True),
            (["*.example.org"], True),
            (["10.0.0.7"], True),
            (["10.0.0.8", "example.org"], False),
            ([], False),
        ):
            identity = authority.issue("api.example.org", hosts)
            assert await admitted(port, trusting(authority, identity)) is welcome
        echoes.shut()

    run(main())


def test_a_renewed_certificate_is_served_to_the_next_client(run: Run, authority: Authority) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=demanding(authority))
        context = trusting(authority, authority.issue("alice"))

        async def served() -> int:
            _, writer = await tcp(port, context)
            serial = writer.get_extra_info("peercert")["serialNumber"]
            writer.close()
            return int(serial, 16)

        first = await served()
        renewed = authority.issue("server", ["127.0.0.1", "localhost"]).serial
        assert first != renewed
        assert await served() == renewed
        (authority.cert.parent / "server.crt").write_text("half writ")
        assert await served() == renewed
        again = authority.issue("server", ["127.0.0.1"]).serial
        assert await served() == again
        echoes.shut()

    run(main())


def test_a_changed_authority_admits_its_own_clients_only(
    run: Run, tmp_path: Path, authority: Authority
) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        bundle = tmp_path / "trusted.crt"
        bundle.write_bytes(authority.cert.read_bytes())
        server = authority.issue("server", ["127.0.0.1"])
        tls = ClientTls(
            TlsOptions(cert_file=server.cert, key_file=server.key, trusted_ca_file=bundle)
        )
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        old = trusting(authority, authority.issue("alice"))
        other = Authority(tmp_path / "tls", "other")
        new = trusting(authority, other.issue("bob"))
        assert (await admitted(port, old), await admitted(port, new)) == (True, False)
        bundle.write_bytes(other.cert.read_bytes())
        assert (await admitted(port, old), await admitted(port, new)) == (False, True)
        echoes.shut()

    run(main())


def session(context: ssl.SSLContext, port: int, old: Any = None) -> tuple[Any, bool]:
    """Returns (the session of one connection, whether it is `old` resumed)."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1", session=old) as connection,
    ):
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        return connection.session, bool(connection.session_reused)


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "session ids"])
@pytest.mark.parametrize("certificates", [True, False], ids=["mutual", "server only"])
def test_sessions_are_resumed_after_the_certificate_of_the_server_was_exchanged(
    run: Run, authority: Authority, certificates: bool, tickets: bool
) -> None:
    """Those of before and those of after, where clients show certificates too."""

    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        server, later = (authority.issue(name, ["127.0.0.1"]) for name in ("server", "later"))
        trusted = authority.cert if certificates else None
        tls = ClientTls(
            TlsOptions(cert_file=server.cert, key_file=server.key, trusted_ca_file=trusted)
        )
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        context = trusting(authority, authority.issue("alice") if certificates else None)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
        before, _ = await asyncio.to_thread(session, context, port)
        assert (await asyncio.to_thread(session, context, port, before))[1]
        server.key.write_bytes(later.key.read_bytes())
        server.cert.write_bytes(later.cert.read_bytes())
        assert (await asyncio.to_thread(session, context, port, before))[1]
        after, resumed = await asyncio.to_thread(session, context, port)
        assert not resumed
        assert (await asyncio.to_thread(session, context, port, after))[1]
        echoes.shut()

    run(main())


def test_sessions_do_not_outlive_the_trust_they_were_made_under(
    run: Run, tmp_path: Path, authority: Authority
) -> None:
    """OpenSSL resumes a TLS 1.2 session without another look at the certificate."""

    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        bundle = tmp_path / "trusted.crt"
        bundle.write_bytes(authority.cert.read_bytes())
        server = authority.issue("server", ["127.0.0.1"])
        tls = ClientTls(
            TlsOptions(cert_file=server.cert, key_file=server.key, trusted_ca_file=bundle)
        )
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        context = trusting(authority, authority.issue("alice"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        old = (await asyncio.to_thread(session, context, port))[0]
        bundle.write_bytes(Authority(tmp_path / "tls", "other").cert.read_bytes())
        with pytest.raises((OSError, AssertionError)):
            await asyncio.to_thread(session, context, port, old)
        echoes.shut()

    run(main())


def test_a_handshake_that_stalls_does_not_keep_others_out(
    run: Run, authority: Authority, tls: ClientTls
) -> None:
    async def main() -> None:
        port = free_port()
        echoes = Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=tls)
        _, stalled = await tcp(port)
        stalled.write(b"\x16\x03\x01")
        assert await admitted(port, trusting(authority))
        stalled.close()
        echoes.shut()

    run(main())


def test_a_socket_file_without_write_permission_is_an_error_with_its_url(
    run: Run, tmp_path: Path
) -> None:
    async def main() -> None:
        url = f"unix://{tmp_path}/missing/s"
        with pytest.raises(OSError, match=f"cannot listen on {url}"):
            await Echoes().on(url)

    run(main())
    assert not os.path.exists(tmp_path / "missing")


def hello(context: ssl.SSLContext) -> bytes:
    """The first message of a TLS client."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("schemes", [("https",), ("http", "https")], ids="+".join)
def test_the_handshakes_of_a_burst_of_clients_are_spread_over_turns(
    run: Run, authority: Authority, tls: ClientTls, schemes: tuple[str, ...]
) -> None:
    async def main() -> None:
        loop, port, clients = asyncio.get_running_loop(), free_port(), 100
        turns = [0]
        chosen = tls.context.sni_callback

        def count(*arguments: Any) -> None:
            turns[-1] += 1
            chosen(*arguments)

        def turn() -> None:
            turns.append(0)
            loop.call_soon(turn)

        tls.context.sni_callback = count
        echoes = Echoes()
        await echoes.on(*(f"{scheme}://127.0.0.1:{port}" for scheme in schemes), tls=tls)
        first = hello(trusting(authority))
        sockets = []
        for _ in range(clients):  # before the loop looks at any of them
            sockets.append(socket.create_connection(("127.0.0.1", port)))
            sockets[-1].sendall(first)
        turn()
        while sum(turns) < clients:
            await asyncio.sleep(0.01)
        assert max(turns) <= 2 * HANDSHAKES
        for each in sockets:
            each.close()
        echoes.close()

    run(asyncio.wait_for(main(), 60))


def test_a_client_certificate_with_undecodable_names_is_refused(
    run: Run, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        port, echoes = free_port(), Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=demanding(authority))
        identity = authority.issue("unreadable", extensions=[UNREADABLE_NAMES])
        assert await says(tcp(port, trusting(authority, identity))) == b""
        assert await says(tcp(port, trusting(authority, authority.issue("client")))) == b"hello"
        echoes.shut()

    run(asyncio.wait_for(main(), 60))
    refused = [record for record in caplog.records if record.message == REJECTED]
    assert len(refused) == 1


def test_a_failed_handshake_is_logged_but_not_a_client_that_goes(
    run: Run, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        port, echoes = free_port(), Echoes()
        await echoes.on(f"https://127.0.0.1:{port}", tls=demanding(authority))
        for sent in (b"", hello(trusting(authority))):
            _, writer = await tcp(port)
            writer.write(sent)
            writer.close()
            await writer.wait_closed()
        assert not await admitted(port, trusting(authority))
        while not caplog.records:
            await asyncio.sleep(0.01)
        echoes.shut()

    run(asyncio.wait_for(main(), 60))
    (line,) = caplog.records
    fields = cast(Any, line).fields
    assert (line.levelname, line.message) == ("WARNING", REJECTED)
    assert fields["remote-addr"].startswith("127.0.0.1:")
    assert "certificate" in fields["error"].lower()
