"""Flags of TLS that etcd refuses: rusd ends with the same code, and with the same words."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from tests.support.pair import ORACLE, SUBJECT, command, require_newer_oracle
from tests.support.ports import free_port

#: Put in place of the files of an authority.
CERT, KEY, OTHER = "{cert}", "{key}", "{other}"


def ended(name: str, directory: Path, flags: list[str]) -> tuple[int, str]:
    """Exit code and reason of a member that cannot start: rusd's line, or etcd's last one."""
    client, peer = free_port(), free_port()
    done = subprocess.run(
        [
            command(name),
            f"--data-dir={directory / name}",
            *(flag.replace("PORT", str(client)) for flag in flags),
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    # (Other goroutines of etcd may write a line behind the fatal one.)
    last = next(line for line in reversed(lines) if line.startswith(('{"level":"fatal', "rusd: ")))
    reason = last.removeprefix("rusd: ") if last[0] == "r" else json.loads(last)["error"]
    return done.returncode, reason.replace(str(client), "PORT")


HTTPS = ["--listen-client-urls=https://127.0.0.1:PORT", "--advertise-client-urls=https://h:1"]
HTTP = ["--listen-client-urls=http://127.0.0.1:PORT", "--advertise-client-urls=http://h:1"]


@pytest.mark.parametrize(
    "flags",
    [
        HTTPS,
        [*HTTPS, "--client-cert-auth"],
        [*HTTPS, "--cert-file=c.crt"],
        [*HTTPS, "--key-file=c.key", "--auto-tls"],
        [*HTTP, "--cipher-suites=TLS_RSA_WITH_ROT13"],
        [*HTTP, "--cipher-suites=ECDHE-RSA-AES128-GCM-SHA256"],
    ],
)
def test_what_etcd_refuses_is_refused_in_its_words(tmp_path: Path, flags: list[str]) -> None:
    expected = ended("etcd", tmp_path, flags)
    assert expected[0] == 1
    assert ended(SUBJECT, tmp_path, flags) == expected


@pytest.mark.parametrize(
    "flags",
    [
        [*HTTPS, "--auto-tls", "--self-signed-cert-validity=0"],
        [*HTTPS, "--cert-file=/nowhere/c.crt", f"--key-file={KEY}"],
        [*HTTPS, f"--cert-file={CERT}", "--key-file=/nowhere/c.key"],
        [*HTTPS, f"--cert-file={CERT}", f"--key-file={OTHER}"],
        [*HTTPS, f"--cert-file={CERT}", f"--key-file={KEY}", "--trusted-ca-file=/nowhere/ca.crt"],
    ],
)
def test_what_etcd_cannot_use_ends_rusd_with_the_same_code(
    tmp_path: Path, flags: list[str]
) -> None:
    authority = Authority(tmp_path / "tls")
    server, other = authority.issue("server"), authority.issue("other")
    files = {CERT: server.cert, KEY: server.key, OTHER: other.key}
    for name, path in files.items():
        flags = [flag.replace(name, str(path)) for flag in flags]
    assert ended("etcd", tmp_path, flags)[0] == ended(SUBJECT, tmp_path, flags)[0] == 1


@pytest.fixture(scope="module")
def demanding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, list[Any]]]:
    """A member of each server that requires certificates on both ports, and their authority."""
    require_newer_oracle()
    authority = Authority(tmp_path_factory.mktemp("tls"))
    with contextlib.ExitStack() as stack:
        clusters = [
            stack.enter_context(
                LocalCluster(
                    1,
                    binary=[command(name)],
                    tls=authority.tls(verify_clients=True),
                    peer_tls=authority.peer_tls(),
                )
            )
            for name in (SUBJECT, ORACLE)
        ]
        yield authority, [cluster.members[0] for cluster in clusters]


def rejections(log: str) -> set[tuple[str, str]]:
    """Level and message of the lines about rejected connections; each has address and error."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    found = [line for line in lines if line["msg"].startswith("rejected connection")]
    assert all(line["remote-addr"].startswith("127.0.0.1:") and line["error"] for line in found)
    return {(line["level"], line["msg"]) for line in found}


@pytest.mark.parametrize("attempt", ["no certificate", "plaintext"])
@pytest.mark.parametrize("port", ["client", "peer"])
def test_a_connection_that_fails_tls_is_logged_as_by_etcd(
    demanding: tuple[Authority, list[Any]], port: str, attempt: str
) -> None:
    authority, members = demanding
    for member in members:
        before = len(member.log_of_this_run())
        url = member.client_url if port == "client" else member.peer_url
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 10) as raw:
            if attempt == "plaintext":
                raw.sendall(b"GET /version HTTP/1.1\r\n\r\n")
                with contextlib.suppress(OSError):
                    raw.recv(100)
            else:
                context = ssl.create_default_context(cafile=authority.cert)
                with (
                    contextlib.suppress(OSError),
                    context.wrap_socket(raw, server_hostname="localhost") as secure,
                ):
                    secure.recv(1)  # the alert
        deadline = time.monotonic() + 30
        while not (found := rejections(member.log_of_this_run()[before:])):
            assert time.monotonic() < deadline, member.log_of_this_run()[-2000:]
            time.sleep(0.05)
        assert found == {("warn", f"rejected connection on {port} endpoint")}
