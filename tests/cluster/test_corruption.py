"""A member whose data is not what the others have: found before it serves, or while it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.ctl.gateway import Access
from rusd.diagnostics.doctor.gather import Gathering
from rusd.diagnostics.doctor.judge import judge
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Batch, Engine, Family
from tests.cluster.test_membership import id_of, lead, wait_until
from tests.support.client import Client, Refused
from tests.support.load import wait_applied


def change_a_value(data_dir: Path) -> None:
    """Replace one value, as a bad disk or a fault of rusd could."""
    state = data_dir / "member" / "state"
    engine = Engine.open(state / (state / "CURRENT").read_text().strip())
    key, value = next(engine.scan(Family.KEY, b"", None))
    changed = value.replace(b"right", b"wrong")
    assert changed != value
    batch = Batch()
    batch.put(Family.KEY, key, changed)
    engine.write(batch)
    engine.sync()
    engine.close()


def corrupted(cluster: LocalCluster, flags: list[str]) -> int:
    """Let a follower hold another value for a key, and start it again with `flags`: its index.

    A long election timeout gives it time to connect before its first check, and keeps it from
    leading: a corrupt leader accuses others.
    """
    leader = cluster.leader()
    with Client(cluster.endpoints[leader]) as client:
        client.put(b"k", b"right")
        client.compact(client.put(b"l", b"x").header.revision - 1)
        # A member that has applied this has compacted as well.
        revision = client.put(b"m", b"x").header.revision
    for endpoint in cluster.endpoints:
        with Client(endpoint) as client:
            wait_applied(client, revision)
    victim = (leader + 1) % 3
    cluster.stop(victim)
    change_a_value(cluster.members[victim].data_dir)
    cluster.set_flags(victim, ["--election-timeout=30000", *flags])
    cluster.restart(victim)
    return victim


def alarms(client: Client) -> list[tuple[int, int]]:
    request = rpc.AlarmRequest(action=rpc.AlarmRequest.GET)
    answer = client.call("/etcdserverpb.Maintenance/Alarm", request, rpc.AlarmResponse)
    return [(alarm.memberID, alarm.alarm) for alarm in answer.alarms]


@pytest.mark.parametrize(
    "flag", ["--experimental-initial-corrupt-check", "--feature-gates=InitialCorruptCheck=true"]
)
def test_a_member_with_other_data_does_not_start_when_it_is_checked(flag: str) -> None:
    with LocalCluster(3) as cluster:
        victim = corrupted(cluster, [flag])
        cluster.dismiss(victim)
        assert cluster.members[victim].wait(60) == 1
        assert "found data inconsistency with peers" in cluster.members[victim].log_of_this_run()


def test_members_with_the_same_data_pass_the_check_and_serve() -> None:
    with LocalCluster(3, flags=["--experimental-initial-corrupt-check"]) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"k", b"v")
        cluster.restart(1)
        cluster.wait_healthy()
        assert "no corruption" in cluster.members[1].log_of_this_run()


@pytest.mark.parametrize(
    "flags",
    [
        ["--experimental-corrupt-check-time=300ms"],
        ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=300ms"],
    ],
    ids=["periodic", "after compactions"],
)
def test_the_leader_raises_an_alarm_for_a_member_with_other_data(flags: list[str]) -> None:
    with LocalCluster(3) as cluster:
        victim = corrupted(cluster, [])
        cluster.wait_healthy()
        # Only one member checks, and it leads when all the others are connected and have
        # compacted. A check before the corruption would not be repeated at its revision, and
        # one that two members answer cannot tell which of them is right.
        leader = cluster.leader()
        checking = next(one for one in range(3) if one not in (victim, leader))
        cluster.set_flags(checking, flags)
        cluster.restart(checking)
        cluster.wait_healthy()
        with Client(cluster.endpoints[checking]) as client:
            corrupt = id_of(cluster, client, victim)
            lead(cluster, checking)
            wait_until(lambda: alarms(client))
            assert alarms(client) == [(corrupt, rpc.CORRUPT)]
            with pytest.raises(Refused) as refused:
                client.put(b"k", b"v")
            assert refused.value == Refused("DATA_LOSS", "etcdserver: corrupt cluster")
        doctor = Gathering(Access(), interval=0.1, hashes=True, flags="")
        found = {each.code: each for each in judge(doctor.gather(cluster.endpoints))[0]}
        name = cluster.members[victim].name
        assert found["alarm-corrupt"].subject.startswith(name)
        assert found["hash-differs"].subject.startswith(name)
