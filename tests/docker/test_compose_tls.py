"""The compose file with TLS for clients and members. The containers and ports are those of
`test_compose.py`, whose members are gone when these start.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import compose_tls
from tests.docker.test_compose import MEMBERS, PORTS, run
from tests.support.pair import command
from tests.support.waiting import wait

FLAGS = ("--cacert=ca.crt", "--cert=client.crt", "--key=client.key")

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The members' certificates; they run."""
    directory = tmp_path_factory.mktemp("tls")
    file = compose_tls.provide(directory)
    project = ["sh", "tests/docker/compose.sh", f"--env-file={file}", "-p", "rusd-test-tls"]
    try:
        run(*project, "up", "--build", "--detach", "--wait", timeout=900)
        yield directory
    finally:
        run(*project, "down", "--volumes", timeout=120)


def healthy(directory: Path, port: int, *flags: str, scheme: str = "https") -> bool:
    url = f"--endpoints={scheme}://127.0.0.1:{port}"
    client = [command("etcdctl"), url, "--command-timeout=5s", *flags, "endpoint", "health"]
    return subprocess.run(client, cwd=directory, capture_output=True).returncode == 0


def test_every_port_serves_the_client_with_a_certificate_and_no_other(tls: Path) -> None:
    for port in PORTS:
        wait(lambda port=port: healthy(tls, port, *FLAGS) or None, f"not healthy: {port}", 60)
    for port in PORTS:
        assert not healthy(tls, port, FLAGS[0]), "without a certificate"
        assert not healthy(tls, port, scheme="http"), "without TLS"


def test_the_keys_are_closed_and_the_members_no_root(tls: Path) -> None:
    for key in tls.glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0
    for name in MEMBERS:
        user = run("docker", "exec", name, "id", "-u").strip()
        assert user == str((tls / "server.key").stat().st_uid) != "0"


def test_every_url_of_the_members_has_the_scheme_https(tls: Path) -> None:
    files = [flag.replace("=", f"={tls}/") for flag in FLAGS]
    members = run(
        command("etcdctl"), "--endpoints=https://127.0.0.1:2379", *files, "member", "list"
    )
    assert members.count("https://") == 6 and "http://" not in members


def test_programs_in_a_container_reach_the_cluster_without_flags(tls: Path) -> None:
    inside = ("docker", "exec", MEMBERS[0], "etcdctl")
    assert "https://127.0.0.1:2379 is healthy" in run(*inside, "endpoint", "health")
    for name in MEMBERS:
        assert f"https://{name}:2379 is healthy" in run(*inside, "endpoint", "health", "--cluster")
