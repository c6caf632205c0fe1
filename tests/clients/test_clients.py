"""Every program of every client on rusd and on etcd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from tests.clients import control
from tests.clients.installation import CLIENTS, INSTALL_TIMEOUT, RUN_TIMEOUT, Client
from tests.clients.results import Results
from tests.support.pair import ORACLE, SUBJECT, command

PROGRAMS = [
    pytest.param(client, program, id=f"{client.name}-{Path(program).stem.lower()}")
    for client in CLIENTS
    for program in client.programs
]
#: Logins are not what is measured.
FLAGS = ["--bcrypt-cost=4"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def results_on(server: str, client: Client, program: str, authority: Authority) -> Results:
    """What a program finds on a cluster of its own."""
    client.installed()
    etcdctl = command("etcdctl")
    with (
        LocalCluster(
            client.members,
            binary=[command(server)],
            flags=[*FLAGS, *client.flags],
            tls=authority.tls() if client.tls else None,
            user=("root", "root"),
        ) as cluster,
        control.served(cluster) as address,
    ):
        return client.outcome(
            program,
            {
                "ENDPOINT": cluster.endpoints[0],
                "ENDPOINTS": ",".join(cluster.endpoints),
                "CONTROL": address,
                "ETCDCTL": etcdctl,
                "PATH": f"{Path(etcdctl).parent}:{os.environ['PATH']}",
                "CA": str(authority.cert),
            },
        )


@pytest.mark.timeout(INSTALL_TIMEOUT + 2 * RUN_TIMEOUT)
@pytest.mark.parametrize(("client", "program"), PROGRAMS)
def test_a_client_finds_rusd_as_it_finds_etcd(
    client: Client, program: str, authority: Authority
) -> None:
    mine, theirs = (results_on(server, client, program, authority) for server in (SUBJECT, ORACLE))
    passed = {name for name, result in theirs.items() if result == "ok"}
    failed = {name for name, result in theirs.items() if result not in ("ok", "skipped")}
    lost = {name: mine.get(name) for name in passed if mine.get(name) != "ok"}
    print(
        f"{client.name}: {len(theirs)} tests; {len(passed)} pass on etcd, "
        f"{len(passed) - len(lost)} of them on rusd; fail on etcd: {sorted(failed)}"
    )
    assert passed
    assert lost == {}
    assert failed <= client.fails_on_etcd
