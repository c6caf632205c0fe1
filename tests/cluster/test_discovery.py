"""A new cluster whose members find each other by a registry in another etcd."""

import subprocess

from cluster.local import LocalCluster, rusd_command
from tests.support.client import Client
from tests.support.pair import command

SIZE_KEY = b"/_etcd/registry/t/_config/size"


def test_three_members_that_know_a_registry_become_one_cluster() -> None:
    with LocalCluster(1, binary=[command("etcd")]) as other:
        with Client(other.endpoints[0]) as client:
            client.put(SIZE_KEY, b"3")
        flags = [
            "--initial-cluster=",
            f"--discovery-endpoints={other.endpoints[0]}",
            "--discovery-token=t",
        ]
        with LocalCluster(3, flags=flags) as cluster:
            with Client(cluster.endpoints[0]) as client:
                client.put(b"k", b"v")
            with Client(cluster.endpoints[2]) as client:
                assert [kv.value for kv in client.range(b"k").kvs] == [b"v"]
            cluster.restart(1)
            cluster.wait_healthy()
            assert "discovery flags are ignored" in cluster.members[1].log_of_this_run()
            late = [
                *rusd_command(),
                f"--data-dir={cluster.members[0].data_dir.parent / 'late'}",
                "--listen-client-urls=http://127.0.0.1:0",
                "--advertise-client-urls=http://127.0.0.1:0",
                "--listen-peer-urls=http://127.0.0.1:0",
                *flags,
            ]
            done = subprocess.run(late, capture_output=True, text=True, timeout=30)
            assert done.returncode == 1
            assert "discovery: cluster is full" in done.stderr
