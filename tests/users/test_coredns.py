"""CoreDNS, whose plugin etcd answers queries from keys: the same names on rusd and on etcd."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from cluster.ports import HOST, Claim
from tests.support.pair import command
from tests.support.waiting import wait
from tests.users.servers import SERVERS

#: `make test-users` builds it.
COREDNS = Path(__file__).parents[2] / "build" / "coredns"
A, TXT, SRV = 1, 16, 33
NAME_ERROR = 3
#: Of a user who may read the names.
USER, PASSWORD = "dns", "secret"


def etcdctl(cluster: LocalCluster, *arguments: str, root: bool = False) -> None:
    login = ["--user=root:secret"] if root else []
    endpoints = f"--endpoints={','.join(cluster.endpoints)}"
    subprocess.run([command("etcdctl"), endpoints, *login, *arguments], check=True, timeout=20)


def publish(cluster: LocalCluster, name: str, record: Mapping[str, object]) -> None:
    """Write a record where the plugin looks for `name`: its labels from the last to the first."""
    path = "/".join(reversed(name.split(".")))
    etcdctl(cluster, "put", f"/skydns/{path}", json.dumps(record), root=True)


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """Three members with users."""
    flags, root = ["--bcrypt-cost=4"], ("root", PASSWORD)
    with LocalCluster(3, binary=[command(request.param)], flags=flags, user=root) as cluster:
        for words in (
            f"user add root:{PASSWORD}",
            "user grant-role root root",
            "role add dns",
            "role grant-permission dns --prefix=true read /skydns/",
            f"user add {USER}:{PASSWORD}",
            f"user grant-role {USER} dns",
            "auth enable",
        ):
            etcdctl(cluster, *words.split())
        yield cluster


@pytest.fixture(scope="module")
def resolver(store: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a CoreDNS that answers for example.org."""
    if not COREDNS.exists():
        pytest.skip("make test-users builds CoreDNS (needs Go)")
    claim = Claim()
    (port,) = claim.any(1)
    directory = tmp_path_factory.mktemp("coredns")
    endpoints = " ".join(f"http://{endpoint}" for endpoint in store.endpoints)
    (directory / "Corefile").write_text(
        f".:{port} {{\n"
        f"  bind {HOST}\n"
        "  etcd example.org {\n"
        f"    endpoint {endpoints}\n"
        f"    credentials {USER} {PASSWORD}\n"
        "  }\n"
        "}\n"
    )
    claim.release()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([COREDNS], cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        publish(store, "ready.example.org", {"host": "192.0.2.1"})
        wait(
            lambda: ask(port, "ready.example.org", A) == (0, ["192.0.2.1"]) or None,
            lambda: (directory / "log").read_text(),
            30,
        )
        yield port
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, name: str, kind: int) -> tuple[int, list[str]] | None:
    """Code and answers of a query, or None without one."""
    asked = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + asked + struct.pack(">2H", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.settimeout(5)
        plug.connect((HOST, port))
        try:
            plug.send(query)
            answer = plug.recv(4096)
        except OSError:
            return None
    flags, _, count = struct.unpack_from(">3H", answer, 2)
    at, found = len(query), []
    for _ in range(count):
        at = after_name(answer, at)
        of, _, _, length = struct.unpack_from(">2HIH", answer, at)
        at += 10
        if of == kind:
            found.append(readable(kind, answer[at : at + length]))
        at += length
    return flags & 0xF, sorted(found)


def after_name(answer: bytes, at: int) -> int:
    """Return the end of a name: after its labels, or after the pointer to the rest of them."""
    while 0 < answer[at] < 0xC0:
        at += answer[at] + 1
    return at + (2 if answer[at] else 1)


def readable(kind: int, data: bytes) -> str:
    if kind == A:
        return socket.inet_ntoa(data)
    if kind == TXT:
        return data[1:].decode()
    priority, weight, port = struct.unpack_from(">3H", data)
    return f"{priority} {weight} {port}"


def test_records_of_each_kind_are_answered(store: LocalCluster, resolver: int) -> None:
    publish(store, "one.web.example.org", {"host": "192.0.2.11", "port": 80, "priority": 10})
    publish(store, "two.web.example.org", {"host": "192.0.2.12", "port": 81, "priority": 20})
    publish(store, "about.example.org", {"text": "hello"})
    assert ask(resolver, "one.web.example.org", A) == (0, ["192.0.2.11"])
    assert ask(resolver, "web.example.org", A) == (0, ["192.0.2.11", "192.0.2.12"])
    assert ask(resolver, "web.example.org", SRV) == (0, ["10 100 80", "20 100 81"])
    assert ask(resolver, "about.example.org", TXT) == (0, ["hello"])


def test_changes_and_deletions_are_answered_at_once(store: LocalCluster, resolver: int) -> None:
    for address in ("192.0.2.21", "192.0.2.22"):
        publish(store, "moves.example.org", {"host": address})
        assert ask(resolver, "moves.example.org", A) == (0, [address])
    etcdctl(store, "del", "/skydns/org/example/moves", root=True)
    assert ask(resolver, "moves.example.org", A) == (NAME_ERROR, [])


def test_names_are_answered_when_the_leading_member_is_killed(
    store: LocalCluster, resolver: int
) -> None:
    publish(store, "stays.example.org", {"host": "192.0.2.31"})
    killed = store.leader()
    store.kill(killed)
    wait(
        lambda: ask(resolver, "stays.example.org", A) == (0, ["192.0.2.31"]) or None,
        "no answer without the killed member",
        30,
    )
    store.restart(killed)
    store.wait_healthy()
    assert ask(resolver, "stays.example.org", A) == (0, ["192.0.2.31"])
