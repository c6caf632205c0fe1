"""PostgreSQL under Patroni, whose leases, leader and settings are kept by three members.

The same on etcd, as the control. Patroni speaks the JSON gateway.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from tests.support.pair import command
from tests.support.waiting import wait
from tests.users.postgres import (
    FAILOVER_TIMEOUT,
    PASSWORD,
    TTL,
    PostgresCluster,
)
from tests.users.servers import SERVERS


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(request.param)]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def postgres(store: LocalCluster) -> Iterator[PostgresCluster]:
    """A leader and a replica, shared by the tests: each leaves them running."""
    with PostgresCluster(2, {"hosts": store.endpoints}) as cluster:
        leader = cluster.wait_running(FAILOVER_TIMEOUT)
        cluster.query(leader, "create table rows (number int primary key)")
        yield cluster


def copied(postgres: PostgresCluster, number: int) -> None:
    """Write a row, and wait until every node has it."""
    leader = postgres.leader()
    postgres.query(leader, f"insert into rows values ({number})")
    wanted = f"select count(*) from rows where number = {number}"
    for index in postgres.running:
        wait(lambda index=index: postgres.query(index, wanted) == "1" or None, postgres.logs, 30)


def test_the_first_node_leads_and_the_second_streams_from_it(postgres: PostgresCluster) -> None:
    leader = postgres.wait_running()
    copied(postgres, 1)
    rows = postgres.members()
    assert {name: row["Role"] for name, row in rows.items()} == {
        postgres.name(leader): "Leader",
        postgres.name(1 - leader): "Replica",
    }
    assert rows[postgres.name(leader)]["State"] == "running"


def test_edited_settings_reach_every_node(postgres: PostgresCluster) -> None:
    postgres.patronictl("edit-config", "--force", "--pg", "work_mem=5MB")
    for index in postgres.running:
        wait(
            lambda index=index: postgres.query(index, "show work_mem") == "5MB" or None,
            postgres.logs,
            30,
        )
    assert "work_mem: 5MB" in postgres.patronictl("show-config")


def test_a_pause_is_seen_by_every_node_until_it_ends(postgres: PostgresCluster) -> None:
    postgres.patronictl("pause", "--wait")
    assert all((postgres.node(index) or {}).get("pause") for index in postgres.running)
    postgres.patronictl("resume", "--wait")
    assert not any((postgres.node(index) or {}).get("pause") for index in postgres.running)


def test_a_switchover_makes_the_replica_the_leader(postgres: PostgresCluster) -> None:
    old = postgres.wait_running()
    before = len(json.loads(postgres.patronictl("history", "--format", "json")))
    names = postgres.name(old), postgres.name(1 - old)
    postgres.patronictl("switchover", "--force", "--leader", names[0], "--candidate", names[1])
    assert postgres.wait_running() == 1 - old
    copied(postgres, 2)

    def recorded() -> bool | None:
        history = json.loads(postgres.patronictl("history", "--format", "json"))
        return (len(history) == before + 1 and history[-1]["New Leader"] == names[1]) or None

    wait(recorded, postgres.logs, 30)


def test_the_primary_outlives_its_lease_when_the_leading_member_is_killed(
    store: LocalCluster, postgres: PostgresCluster
) -> None:
    leader = postgres.wait_running()
    before = postgres.instance(leader)
    killed = store.leader()
    store.kill(killed)
    moment = time.time()
    postgres.patronictl("edit-config", "--force", "--pg", "work_mem=6MB")
    postgres.wait_seen(moment + TTL)
    assert postgres.instance(leader) == before
    assert postgres.query(leader, "show work_mem") == "6MB"
    store.restart(killed)
    store.wait_healthy()


def test_the_primary_stays_while_all_members_restart_in_turn(
    store: LocalCluster, postgres: PostgresCluster
) -> None:
    leader = postgres.wait_running()
    before = postgres.instance(leader)
    for index in range(store.size):
        store.restart(index)
        store.wait_healthy()
    postgres.wait_seen(time.time() + 1)
    assert postgres.instance(leader) == before
    copied(postgres, 3)


def test_the_replica_takes_over_when_the_leading_node_is_killed(
    postgres: PostgresCluster,
) -> None:
    old = postgres.wait_running()
    copied(postgres, 4)
    postgres.kill(old)
    assert postgres.leader(FAILOVER_TIMEOUT) == 1 - old
    copied(postgres, 5)
    postgres.start(old)
    assert postgres.wait_running(FAILOVER_TIMEOUT) == 1 - old
    copied(postgres, 6)
    kept = postgres.query(old, "select number from rows where number > 3 order by number")
    assert kept.split() == ["4", "5", "6"]


@pytest.fixture(scope="module", params=SERVERS)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalCluster, dict[str, object]]]:
    """Members with TLS, clients' certificates and users; Patroni's settings for them."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    # The launcher's certificate names its user. Patroni's names none: the gateway refuses
    # certificates with a name while users are enabled.
    root, client = authority.issue("root"), authority.issue("", file="patroni")
    tls = authority.tls(verify_clients=True)
    tls = tls._replace(client_cert=root.cert, client_key=root.key)
    binary, flags = [command(request.param)], ["--bcrypt-cost=4"]
    with LocalCluster(3, binary=binary, flags=flags, tls=tls) as cluster:
        etcdctl = [
            command("etcdctl"),
            f"--endpoints=https://{cluster.endpoints[0]}",
            f"--cacert={tls.authority}",
            f"--cert={root.cert}",
            f"--key={root.key}",
        ]
        for words in (
            f"user add root:{PASSWORD}",
            "user grant-role root root",
            "role add patroni",
            "role grant-permission patroni --prefix=true readwrite /service/",
            f"user add patroni:{PASSWORD}",
            "user grant-role patroni patroni",
            "auth enable",
        ):
            subprocess.run([*etcdctl, *words.split()], check=True, capture_output=True)
        settings: dict[str, object] = {
            "hosts": cluster.endpoints,
            "protocol": "https",
            "cacert": str(tls.authority),
            "cert": str(client.cert),
            "key": str(client.key),
            "username": "patroni",
            "password": PASSWORD,
        }
        yield cluster, settings


def test_a_node_with_password_and_certificate_leads_while_members_restart(
    guarded: tuple[LocalCluster, dict[str, object]],
) -> None:
    store, settings = guarded
    with PostgresCluster(1, settings) as postgres:
        leader = postgres.wait_running(FAILOVER_TIMEOUT)
        assert list(postgres.members()) == [postgres.name(leader)]
        before = postgres.instance(leader)
        # Members forget tokens of this kind when they restart: Patroni has to log in anew.
        for index in range(store.size):
            store.restart(index)
            store.wait_healthy()
        postgres.wait_seen(time.time() + 1)
        postgres.patronictl("edit-config", "--force", "--pg", "work_mem=5MB")
        wait(lambda: postgres.query(leader, "show work_mem") == "5MB" or None, postgres.logs, 30)
        assert postgres.instance(leader) == before


def test_a_wrong_password_ends_patroni(guarded: tuple[LocalCluster, dict[str, object]]) -> None:
    _, settings = guarded
    with PostgresCluster(1, {**settings, "password": "wrong"}) as postgres:
        postgres.wait_ended(0)
        assert "authentication failed, invalid user ID or password" in postgres.logs()
