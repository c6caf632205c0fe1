"""Clients of a member that has not caught up: connected from its start, answered when it has."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from cluster import wire
from cluster.local import LocalCluster
from tests.cluster.test_membership import UNHEALTHY, add, once_allowed
from tests.support.client import Client
from tests.support.http import alive
from tests.support.pair import SUBJECT, command
from tests.support.waiting import wait

FLAGS = ["--snapshot-count=100", "--snapshot-catchup-entries=50"]
#: Seconds in which a member that answers early would have answered.
EARLY = 0.5


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)], flags=FLAGS) as running:
        yield running


def follower(cluster: LocalCluster) -> int:
    return next(n for n in range(cluster.size) if n != cluster.leader())


def written(cluster: LocalCluster, endpoint: str) -> int:
    """Write more than the log keeps; return an index that a member has applied then."""
    with Client(endpoint) as client:
        for n in range(200):
            client.put(b"key/%03d" % n, b"v" * 50_000)
        client.put(b"last", b"")
    return wire.status(endpoint).applied_index


def first_status(endpoint: str) -> wire.Status:
    """The first answer of a member that starts."""

    def look() -> wire.Status | None:
        with contextlib.suppress(wire.NoAnswer):
            return wire.status(endpoint)
        return None

    return wait(look, "it never answered", 60)


def connected(endpoint: str) -> socket.socket:
    """A connection to a member that starts, as soon as its port is bound."""
    host, port = endpoint.rsplit(":", 1)

    def look() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((host, int(port)), 10)
        return None

    return wait(look, "its port is not bound", 30)


def test_a_member_without_quorum_at_its_start_keeps_clients_waiting_until_it_has_one(
    cluster: LocalCluster,
) -> None:
    cluster.kill_all()
    cluster.restart(0)
    member = cluster.members[0]
    with connected(member.endpoint) as early:
        early.sendall(b"GET /version HTTP/1.1\r\nHost: early\r\n\r\n")
        wait(lambda: alive(member.metrics_url) or None, "no answer at its metrics URL", 30)
        assert not select.select([early], [], [], EARLY)[0]
        with pytest.raises(wire.NoAnswer):
            wire.status(member.endpoint, EARLY)
        cluster.start_all()
        early.settimeout(60)
        assert early.recv(1 << 16).startswith(b"HTTP/1.1 200")
    cluster.wait_healthy()


def test_the_first_answer_of_a_member_that_was_away_is_of_a_state_that_has_caught_up(
    cluster: LocalCluster,
) -> None:
    away = follower(cluster)
    here = cluster.endpoints[cluster.leader()]
    cluster.kill(away)
    index = written(cluster, here)
    cluster.restart(away)
    assert first_status(cluster.endpoints[away]).applied_index >= index
    cluster.wait_healthy()


@pytest.mark.parametrize("learner", [False, True], ids=["voter", "learner"])
def test_the_first_answer_of_a_member_that_joins_is_of_a_state_that_has_caught_up(
    cluster: LocalCluster, learner: bool
) -> None:
    here = cluster.endpoints[cluster.leader()]
    index = written(cluster, here)
    with Client(here) as client:
        joined, member_id = add(cluster, client, learner=learner)
        found = first_status(cluster.endpoints[joined])
        assert found.applied_index >= index
        assert found.member_id == member_id
        remove_again(cluster, client, joined, member_id)


def remove_again(cluster: LocalCluster, client: Client, index: int, member_id: int) -> None:
    cluster.dismiss(index)
    once_allowed(lambda: client.member_remove(member_id), UNHEALTHY)
    cluster.members[index].wait(30)
