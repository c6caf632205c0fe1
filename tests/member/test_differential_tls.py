"""Flags of TLS that etcd refuses: rusd ends with the same code, and with the same words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cluster.certificates import Authority
from tests.support.pair import SUBJECT, command
from tests.unit.door.toys import free_port

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
