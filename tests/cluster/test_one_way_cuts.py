"""Links between member processes that are cut in one direction: a leader soon, and while it lasts.

And what a member that nobody hears, or that hears nobody, says of its health.

The links are proxies that hold back what goes in one direction (`cluster/chaos/proxy.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from cluster.chaos.network import CUT, Link
from cluster.chaos.subject import Subject
from tests.support.client import Client, Refused

#: Seconds until writes go on: CheckQuorum and an election take 2 to 4 at an election timeout of one
#: second; the rest is for a busy machine.
SOON = 15.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Subject]:
    with Subject("rusd", 3, network="proxy", with_disks=False) as running:
        yield running


def written(cluster: Subject, members: list[int]) -> float:
    """Seconds until one of these members acknowledges a write."""
    began = time.monotonic()
    for index in itertools.cycle(members):
        assert time.monotonic() - began < SOON
        with Client(cluster.endpoints[index]) as client, contextlib.suppress(Refused):
            client.put(b"k", b"v", timeout=1.0)
            return time.monotonic() - began
    raise AssertionError


CUTS: dict[str, Callable[[int, list[int]], list[Link]]] = {
    "the leader hears nobody": lambda leader, others: [(one, leader) for one in others],
    "nobody hears the leader": lambda leader, others: [(leader, one) for one in others],
    "the leader does not hear one": lambda leader, others: [(others[0], leader)],
    "one does not hear the leader": lambda leader, others: [(leader, others[0])],
    "followers do not hear each other": lambda _, others: [(others[0], others[1])],
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_in_one_direction_stops_writes_for_an_election_at_most(
    cluster: Subject, cut: str
) -> None:
    leader = cluster.wait_leader()
    others = [index for index in range(3) if index != leader]
    cluster.network.set(CUTS[cut](leader, others), CUT)
    try:
        # Of those that can talk both ways a majority is left: the followers, or the leader and one.
        served = others if "body" in cut else [leader, others[1]]
        gaps = [written(cluster, served)]
        end = time.monotonic() + 8  # silence has ended connections, and elections are over
        while time.monotonic() < end:
            gaps.append(written(cluster, served))
    finally:
        cluster.network.heal()
    healed = time.monotonic()
    cluster.wait_healthy()
    print(f"{cut}: {max(gaps):.2f} s without a write; well {time.monotonic() - healed:.2f} s later")


def answered(endpoint: str, page: str, limit: float = 30.0) -> tuple[int, str]:
    """Return the status and the text of a page; a status of 0 if `limit` seconds passed before."""
    try:
        with urllib.request.urlopen(f"http://{endpoint}{page}", timeout=limit) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as found:
        return found.code, found.read().decode()
    except TimeoutError:
        return 0, ""


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
@pytest.mark.parametrize("hears", [True, False], ids=["nobody hears it", "it hears nobody"])
def test_a_member_that_is_cut_off_lives_and_is_not_ready(
    cluster: Subject, leads: bool, hears: bool
) -> None:
    leader = cluster.wait_leader()
    cut_off = leader if leads else (leader + 1) % 3
    others = [index for index in range(3) if index != cut_off]
    links = [(cut_off, one) if hears else (one, cut_off) for one in others]
    endpoint = cluster.endpoints[cut_off]
    cluster.network.set(links, CUT)
    try:
        status, text = answered(endpoint, "/readyz", limit=3)
        assert status == 0 or (status == 503 and "[-]linearizable_read failed" in text)
        assert answered(endpoint, "/health?serializable=false", limit=3)[0] in (0, 503)
        assert answered(endpoint, "/health?serializable=true")[0] == 200
        assert answered(endpoint, "/livez")[0] == 200
    finally:
        cluster.network.heal()
    cluster.wait_healthy()
    assert answered(endpoint, "/readyz")[0] == 200
