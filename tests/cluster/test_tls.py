"""TLS on the client port: etcdctl, grpcio and HTTP/1.1, with certificates and without."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from cluster import wire
from cluster.certificates import DAY, Authority, Identity
from cluster.local import ClusterError, LocalCluster
from cluster.tls import Tls
from rusd.proto import rpc_pb2 as rpc
from tests.support.pair import SUBJECT, command
from tests.support.ports import free_port

TIMEOUT = 15


class Server:
    """A cluster, its authority, and clients of it."""

    def __init__(self, cluster: LocalCluster, authority: Authority, tls: Tls) -> None:
        self.cluster = cluster
        self.authority = authority
        self.tls = tls
        self.endpoint = cluster.endpoints[0]
        self.port = int(self.endpoint.rpartition(":")[2])
        self.mine = Identity(tls.client_cert, tls.client_key, 0)

    def etcdctl(
        self, *arguments: str, show: Identity | None = None, trust: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Over all members; `show`: the client's certificate."""
        endpoints = ",".join(member.client_url for member in self.cluster.members)
        flags = [f"--endpoints={endpoints}", "--dial-timeout=2s", "--command-timeout=3s"]
        if trust:
            flags.append(f"--cacert={self.tls.authority}")
        if show is not None:
            flags += [f"--cert={show.cert}", f"--key={show.key}"]
        return run_etcdctl(*flags, *arguments)

    def channel(self, show: Identity | None = None) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(
            self.tls.authority.read_bytes(),
            show.key.read_bytes() if show is not None else None,
            show.cert.read_bytes() if show is not None else None,
        )
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(self.endpoint, credentials, options)

    def context(self, show: Identity | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.tls.authority)
        if show is not None:
            context.load_cert_chain(show.cert, show.key)
        return context

    def served_serial(self) -> int:
        """The serial number of the certificate a new client is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as raw,
            self.context(self.mine).wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            found: Any = connection.getpeercert()
            return int(found["serialNumber"], 16)

    def get(self, path: str, show: Identity | None = None) -> tuple[int, str]:
        """An HTTP/1.1 request."""

        async def ask() -> tuple[int, str]:
            connector = aiohttp.TCPConnector(ssl=self.context(show))
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(f"https://{self.endpoint}{path}") as answer,
            ):
                return answer.status, await answer.text()

        return asyncio.run(ask())


def run_etcdctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command("etcdctl"), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={"ETCDCTL_API": "3"},
    )


def put(channel: grpc.Channel, key: bytes, value: bytes) -> None:
    method = channel.unary_unary(
        "/etcdserverpb.KV/Put", rpc.PutRequest.SerializeToString, rpc.PutResponse.FromString
    )
    method(rpc.PutRequest(key=key, value=value), timeout=TIMEOUT)


def values(channel: grpc.Channel, prefix: bytes) -> list[bytes]:
    method = channel.unary_unary(
        "/etcdserverpb.KV/Range", rpc.RangeRequest.SerializeToString, rpc.RangeResponse.FromString
    )
    request = rpc.RangeRequest(key=prefix, range_end=prefix + b"\xff")
    return [kv.value for kv in method(request, timeout=TIMEOUT).kvs]


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three members that ask nobody for a certificate."""
    authority = Authority(tmp_path_factory.mktemp("open"))
    tls = authority.tls()
    with LocalCluster(3, binary=[command(SUBJECT)], tls=tls) as cluster:
        yield Server(cluster, authority, tls)


@pytest.fixture(scope="module")
def verifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One member that lets in only clients of its authority."""
    authority = Authority(tmp_path_factory.mktemp("verifying"))
    tls = authority.tls(verify_clients=True)
    with LocalCluster(1, binary=[command(SUBJECT)], tls=tls) as cluster:
        yield Server(cluster, authority, tls)


# -- without certificates of clients -------------------------------------------------------------


def test_etcdctl_needs_only_the_authority(open_to_all: Server) -> None:
    assert open_to_all.etcdctl("put", "a", "1").stdout == "OK\n"
    assert open_to_all.etcdctl("get", "a").stdout == "a\n1\n"


def test_a_client_that_does_not_trust_the_authority_does_not_connect(open_to_all: Server) -> None:
    done = open_to_all.etcdctl("get", "a", trust=False)
    assert done.returncode != 0
    assert done.stdout == ""


def test_members_tell_their_https_urls_and_are_reached_by_them(open_to_all: Server) -> None:
    found = json.loads(open_to_all.etcdctl("member", "list", "-w", "json").stdout)
    urls = sorted(url for member in found["members"] for url in member["clientURLs"])
    assert urls == sorted(member.client_url for member in open_to_all.cluster.members)
    done = open_to_all.etcdctl("endpoint", "health", "--cluster", "-w", "json")
    assert [each["health"] for each in json.loads(done.stdout)] == [True] * 3


def test_http_pages_are_served_beside_grpc(open_to_all: Server) -> None:
    status, body = open_to_all.get("/health")
    assert (status, json.loads(body)["health"]) == (200, "true")
    assert open_to_all.get("/version")[0] == 200
    assert open_to_all.get("/nowhere")[0] == 404


def test_big_values_go_through_in_both_directions(open_to_all: Server) -> None:
    big = [bytes([number]) * (1 << 20) for number in range(8)]
    with open_to_all.channel() as channel:
        for number, value in enumerate(big):
            put(channel, b"big/%d" % number, value)
        assert values(channel, b"big/") == big


def test_a_watch_lives_on_a_secure_connection(open_to_all: Server) -> None:
    with open_to_all.channel() as channel:
        watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            rpc.WatchRequest.SerializeToString,
            rpc.WatchResponse.FromString,
        )
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"seen"))
        answers = watch(iter([create]), timeout=TIMEOUT)
        assert next(answers).created
        put(channel, b"seen", b"now")
        assert next(answers).events[0].kv.value == b"now"
        answers.cancel()


@pytest.mark.parametrize(
    "words",
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /health HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff"],
)
def test_a_plaintext_client_disturbs_no_other(open_to_all: Server, words: bytes) -> None:
    with open_to_all.channel() as channel:
        put(channel, b"before", b"1")
        with socket.create_connection(("127.0.0.1", open_to_all.port), TIMEOUT) as stranger:
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            answer = stranger.recv(1 << 16)
            assert b"HTTP/1.1 200" not in answer
        put(channel, b"after", b"1")
    assert open_to_all.etcdctl("get", "after").stdout == "after\n1\n"


# -- with certificates of clients ----------------------------------------------------------------


def test_a_client_of_the_authority_is_let_in(verifying: Server) -> None:
    alice = verifying.authority.issue("alice")
    assert verifying.etcdctl("put", "a", "1", show=alice).stdout == "OK\n"
    with verifying.channel(alice) as channel:
        assert values(channel, b"a") == [b"1"]
    assert verifying.get("/health", alice)[0] == 200


def refused(server: Server, show: Identity | None) -> bool:
    """Return whether etcdctl, grpcio and HTTP all get no answer."""
    if server.etcdctl("get", "a", show=show).returncode == 0:
        return False
    with server.channel(show) as channel:
        try:
            values(channel, b"a")
            return False
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
    try:
        server.get("/health", show)
        return False
    except (aiohttp.ClientError, ssl.SSLError):
        return True


def test_clients_without_a_trusted_certificate_are_refused(verifying: Server) -> None:
    stranger = Authority(verifying.tls.cert.parent, "stranger").issue("mallory")
    expired = verifying.authority.issue("late", valid=-DAY)
    for show in (None, stranger, expired):
        assert refused(verifying, show)


def test_a_renewed_certificate_is_served_without_a_restart(verifying: Server) -> None:
    alice = verifying.authority.issue("alice")
    with verifying.channel(alice) as channel:
        put(channel, b"renewed", b"0")
        renewed = verifying.authority.issue("server", ["127.0.0.1", "localhost"])
        assert verifying.served_serial() == renewed.serial
        put(channel, b"renewed", b"1")  # the old connection goes on
    assert verifying.etcdctl("get", "renewed", show=alice).stdout == "renewed\n1\n"


def test_a_certificate_revoked_while_the_member_runs_is_refused(tmp_path: Path) -> None:
    """At the next handshake; the connections that stand go on, as in etcd."""
    authority = Authority(tmp_path)
    tls = authority.tls(verify_clients=True)
    alice = authority.issue("alice")
    flag = f"--client-crl-file={authority.revoke()}"
    with LocalCluster(1, binary=[command(SUBJECT)], tls=tls, flags=[flag]) as cluster:
        server = Server(cluster, authority, tls)
        with server.channel(alice) as channel:
            put(channel, b"a", b"0")
            authority.revoke(alice)
            assert refused(server, alice)
            put(channel, b"a", b"1")
        assert server.etcdctl("get", "a", show=server.mine).stdout == "a\n1\n"


# -- certificates made by the member, sockets, starts that fail ----------------------------------


def test_an_automatic_certificate_is_made_once_and_kept(tmp_path: Path) -> None:
    def served(cluster: LocalCluster) -> str:
        port = int(cluster.endpoints[0].rpartition(":")[2])
        untrusting = ("--insecure-transport=false", "--insecure-skip-tls-verify")
        done = run_etcdctl(f"--endpoints=https://127.0.0.1:{port}", *untrusting, "put", "a", "1")
        assert done.stdout == "OK\n", done.stderr
        return ssl.get_server_certificate(("127.0.0.1", port))

    authority = Authority(tmp_path / "tls")
    directory = tmp_path / "data"
    for _ in range(2):
        cluster = AutoTls(directory, authority)
        with cluster:
            certificate = served(cluster)
            kept = (cluster.members[0].data_dir / "fixtures/client/cert.pem").read_text()
            assert certificate == kept


class AutoTls(LocalCluster):
    """A member with --auto-tls; the launcher trusts what it has made once that is there."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        super().__init__(1, binary=[command(SUBJECT)], directory=directory, tls=authority.tls())

    def command(self, index: int) -> list[str]:
        given = super().command(index)
        return [flag for flag in given if not flag.startswith(("--cert", "--key"))] + ["--auto-tls"]

    def _all_healthy(self) -> bool | None:
        made = self.members[0].data_dir / "fixtures/client/cert.pem"
        if not made.exists():
            return None
        self._access = wire.Access(grpc.ssl_channel_credentials(made.read_bytes()))
        return super()._all_healthy()


def test_grpc_and_http_may_listen_apart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls()
    port = free_port()
    flag = f"--listen-client-http-urls=https://127.0.0.1:{port}"
    with LocalCluster(1, binary=[command(SUBJECT)], tls=tls, flags=[flag]) as cluster:
        server = Server(cluster, authority, tls)
        assert server.etcdctl("put", "a", "1").stdout == "OK\n"
        with pytest.raises(aiohttp.ClientError):
            server.get("/health")
        server.endpoint = f"127.0.0.1:{port}"
        assert server.get("/health")[0] == 200
        with server.channel() as channel, pytest.raises(grpc.RpcError):
            put(channel, b"a", b"2")


def test_a_unix_socket_may_be_secure(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls()
    # Clients in Go expect a certificate for the last part of the path.
    path = tmp_path / "localhost"
    # The launcher asks over TCP, which comes first in the list.
    cluster = LocalCluster(1, binary=[command(SUBJECT)], tls=tls)
    original = cluster.command

    def with_socket(index: int) -> list[str]:
        return [
            f"{flag},unixs://{path}" if flag.startswith("--listen-client-urls") else flag
            for flag in original(index)
        ]

    cluster.command = with_socket  # type: ignore[method-assign]
    with cluster:
        done = run_etcdctl(
            f"--endpoints=unixs://{path}", f"--cacert={tls.authority}", "put", "a", "1"
        )
        assert done.stdout == "OK\n", done.stderr
        cluster.stop(0)
        assert not path.exists()


@pytest.mark.parametrize("broken", ["cert", "key", "authority"])
def test_a_member_that_cannot_use_its_files_ends_with_one_line_and_code_1(
    tmp_path: Path, broken: str
) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls(verify_clients=True)
    getattr(tls, broken).write_text("junk")
    cluster = LocalCluster(1, binary=[command(SUBJECT)], tls=None, flags=tls.flags())
    original = cluster.command
    cluster.command = lambda index: [  # type: ignore[method-assign]
        flag.replace("http:", "https:") if "client-urls" in flag else flag
        for flag in original(index)
    ]
    with pytest.raises(ClusterError, match="exit code 1") as caught:
        cluster.start()
    assert f"{getattr(tls, broken)}" in str(caught.value)
    assert "Traceback" not in str(caught.value)
