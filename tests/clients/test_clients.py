"""Every script of every client on rusd and on etcd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from tests.clients.installation import CLIENTS, Client
from tests.support.pair import ORACLE, SUBJECT, command

SCRIPTS = [
    pytest.param(client, script, id=f"{client.name}-{script.stem.lower()}")
    for client in CLIENTS
    for script in client.scripts
]
#: Logins are not what is measured.
FLAGS = ["--bcrypt-cost=4"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def endpoints(authority: Authority) -> Iterator[dict[bool, list[str]]]:
    """Members of rusd and of etcd, without TLS and with it, shared by the scripts: each cleans up
    behind itself.
    """
    found: dict[bool, list[str]] = {}
    with ExitStack() as stack:
        for tls in (None, authority.tls()):
            for server in (SUBJECT, ORACLE):
                cluster = LocalCluster(1, binary=[command(server)], flags=FLAGS, tls=tls)
                stack.enter_context(cluster)
                found.setdefault(tls is not None, []).append(cluster.endpoints[0])
        yield found


@pytest.mark.parametrize(("client", "script"), SCRIPTS)
def test_a_client_finds_rusd_as_it_finds_etcd(
    client: Client, script: Path, endpoints: dict[bool, list[str]], authority: Authority
) -> None:
    tools = {"ETCDCTL": command("etcdctl"), "CA": str(authority.cert)}
    environments = [{"ENDPOINT": endpoint, **tools} for endpoint in endpoints[client.tls]]
    mine, theirs = client.outcomes(script, environments)
    assert mine == theirs
    assert mine and not [line for line in mine if not line.startswith("ok ")]
