"""The control plane goes on while a member is cut off, has a full disk, or is replaced.

As in `test_failures`, on members whose links and disks can be broken (`cluster.chaos`): links by
network namespaces where this is root, else by proxies; disks need root.
"""

from __future__ import annotations

import itertools
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.chaos.network import CUT
from cluster.chaos.subject import Subject, network_of
from cluster.kubernetes.plane import ControlPlane
from rusd.proto import rpc_pb2 as rpc
from tests.bench import pipeline
from tests.bench.calls import PUT_PATH
from tests.kubernetes import rollout
from tests.kubernetes.traffic import Traffic
from tests.support.client import Client, Refused
from tests.support.pair import SUBJECT
from tests.support.waiting import wait

#: Seconds that a member is cut off, or has no space: longer than the leases of controller manager
#: and scheduler.
BROKEN = 20.0

#: A member that lacks more entries than this gets a snapshot.
ENTRIES = 300

#: Puts of 1 MiB until a full disk must be noticed: etcd has 64 MiB of its log allocated ahead.
LARGE_PUTS = 200

#: Members without data are refused, removed and added: beyond the time of other tests.
TIMEOUT = 400


@pytest.fixture(scope="module")
def members() -> Iterator[Subject]:
    flags = [f"--snapshot-count={ENTRIES}", f"--snapshot-catchup-entries={ENTRIES}"]
    with Subject(SUBJECT, 3, network=network_of("auto"), flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def plane(programs: Path, members: Subject) -> Iterator[ControlPlane]:
    with ControlPlane(programs, members, flags=["--event-ttl=5s"]) as running:
        yield running


@pytest.fixture(autouse=True)
def healed(members: Subject, plane: ControlPlane) -> Iterator[None]:
    """Nothing stays broken after a test that failed."""
    plane.revive()
    yield
    members.heal()


Fault = Callable[[Subject], None]


def cut_off_the_leader(members: Subject) -> None:
    _isolate(members, members.leader())
    time.sleep(BROKEN)
    members.network.heal()


def cut_off_a_follower(members: Subject) -> None:
    _isolate(members, _follower(members))
    time.sleep(BROKEN)
    members.network.heal()


def send_a_snapshot_to_a_follower(members: Subject) -> None:
    """It is cut off, with its watchers, until the others have dropped what it lacks."""
    follower = _follower(members)
    before = _snapshots(members, follower)
    _isolate(members, follower)
    # Until the connections are given up: entries would wait in them.
    time.sleep(BROKEN)
    put = rpc.PutRequest(key=b"elsewhere/small", value=b"x").SerializeToString()
    puts = itertools.repeat(put, 4 * ENTRIES)
    # One at a time: those that come together may be one entry.
    pipeline.run(members.endpoints[members.leader()], PUT_PATH, puts, 1)
    members.network.heal()
    wait(
        lambda: _snapshots(members, follower) > before or None,
        lambda: "no snapshot\n" + "\n".join(each.log_tail() for each in members.members),
        60.0,
    )


def fill_the_disk_of_the_leader(members: Subject) -> None:
    _fill(members, members.leader())


def fill_the_disk_of_a_follower(members: Subject) -> None:
    _fill(members, _follower(members))


def replace_a_member(members: Subject) -> None:
    follower = _follower(members)
    members.kill(follower)
    members.wipe(follower)
    members.refuses(follower)
    members.replace(follower)


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    "fault",
    [
        cut_off_the_leader,
        cut_off_a_follower,
        send_a_snapshot_to_a_follower,
        fill_the_disk_of_the_leader,
        fill_the_disk_of_a_follower,
        replace_a_member,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_deployment_rolls_while_a_member_is_broken(
    plane: ControlPlane, members: Subject, namespace: str, fault: Fault
) -> None:
    if "disk" in fault.__name__ and not members.disks:
        pytest.skip("disks of their own need root")
    rollout.deploy(plane, namespace)
    with Traffic(plane, namespace) as traffic:
        rollout.begin(plane, namespace)
        fault(members)
        members.wait_settled()
        started = rollout.finish(plane, namespace)
    assert started <= rollout.MAY_END
    traffic.check(members, None)
    print(f"{fault.__name__}: longest gap {traffic.longest_gap:.2f} s, started again: {started}")


def _follower(members: Subject) -> int:
    return (members.leader() + 1) % 3


def _isolate(members: Subject, index: int) -> None:
    others = [other for other in range(3) if other != index]
    members.network.set([(index, other) for other in others], CUT)
    members.network.set([(other, index) for other in others], CUT)


def _fill(members: Subject, index: int) -> None:
    """Fill the disk, and write at the member until it refuses or ends."""
    members.disks[index].fill()
    with Client(members.endpoints[index]) as client, pytest.raises(Refused):
        for _ in range(LARGE_PUTS):
            client.put(b"elsewhere/large", bytes(1 << 20))
    time.sleep(BROKEN)
    members.disks[index].free()


def _snapshots(members: Subject, index: int) -> float:
    """Number of snapshots that a member has got, by its metrics."""
    with urllib.request.urlopen(members.members[index].metrics_url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = "etcd_network_snapshot_receive_success{"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
