"""Backups of one member, taken while a deployment rolls and is scaled.

Judged each time, beside what `traffic` judges: every program runs on; etcdutl takes the file; a
cluster restored from it holds what the members held at the one revision that the file names, no
less and no more, and no object whose creation had been acknowledged by then is missing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes import rollout, store
from tests.kubernetes.traffic import Traffic
from tests.support.pair import ORACLE, command, etcdutl
from tests.support.snapshots import restore, restore_by_etcdutl, run

Objects = list[dict[str, object]]


@pytest.fixture(autouse=True)
def revived(plane: ControlPlane) -> None:
    """A program that ended after the test before runs again."""
    plane.revive()


def of_the_leader(members: LocalCluster) -> int:
    return members.leader()


def of_a_follower(members: LocalCluster) -> int:
    return (members.leader() + 1) % 3


@pytest.mark.parametrize("program", ["etcdctl", "rusdctl"])
@pytest.mark.parametrize("choose", [of_the_leader, of_a_follower], ids=lambda one: one.__name__)
def test_a_deployment_rolls_while_a_snapshot_is_saved(
    plane: ControlPlane,
    members: LocalCluster,
    tls: Tls,
    namespace: str,
    tmp_path: Path,
    choose: Callable[[LocalCluster], int],
    program: str,
) -> None:
    rollout.deploy(plane, namespace)
    files = [tmp_path / "rolled.db", tmp_path / "scaled.db"]
    held = []
    with Traffic(plane, namespace) as traffic:
        rollout.begin(plane, namespace)
        store.save(program, members, tls, choose(members), files[0])
        # At once: the API server compacts every minute.
        held.append(_held(members, tls, files[0]))
        plane.kubectl("scale", "deployment/web", "--replicas=30", "-n", namespace)
        store.save(program, members, tls, choose(members), files[1])
        held.append(_held(members, tls, files[1]))
        traffic.wait_for(5)
        started = rollout.finish(plane, namespace)
    assert not started
    traffic.check(members, tls)
    assert held[0][0] < held[1][0]
    for file, (revision, objects) in zip(files, held, strict=True):
        by_then = {n: v for n, v in traffic.acknowledged.items() if v <= revision}
        assert 0 < len(by_then) < len(traffic.acknowledged)
        for restored in (_in_rusd(file, revision), _in_etcd(file, revision)):
            assert restored == objects
            assert by_then.items() <= _written(restored, namespace).items()
    print(f"{program} {choose.__name__}: longest gap {traffic.longest_gap:.2f} s")


def _held(members: LocalCluster, tls: Tls, file: Path) -> tuple[int, Objects]:
    """The revision of a file, by etcdutl, and what the members held at it."""
    status = json.loads(run(*etcdutl(), "snapshot", "status", file, "-w", "json"))
    # (The digest is not part of the database.)
    assert status["totalSize"] == file.stat().st_size - 32
    return status["revision"], store.objects(members, tls, status["revision"])


def _in_rusd(file: Path, revision: int) -> Objects:
    with LocalCluster(1) as cluster:
        cluster.stop(0)
        restore(cluster, 0, file)
        return _restored(cluster, revision)


def _in_etcd(file: Path, revision: int) -> Objects:
    with LocalCluster(1, binary=[command(ORACLE)]) as cluster:
        cluster.stop(0)
        restore_by_etcdutl(cluster, file)
        return _restored(cluster, revision)


def _restored(cluster: LocalCluster, revision: int) -> Objects:
    cluster.start_all()
    cluster.wait_healthy()
    # Leases run again, and may have removed events from the present.
    return store.objects(cluster, None, revision)


def _written(objects: Objects, namespace: str) -> dict[str, int]:
    """Name and version of the config maps that were written meanwhile."""
    found = {}
    for each in objects:
        key = base64.b64decode(str(each["key"])).decode()
        *directory, name = key.split("/")
        if directory[2:] == ["configmaps", namespace]:
            found[name] = int(str(each["mod_revision"]))
    return found
