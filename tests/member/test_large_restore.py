"""Three new members from the snapshot of a large store, when all members of the old one are lost.

`make test` runs it with 5,000 keys, `make test-recovery` with a million (RUSD_RECOVERY_KEYS).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.bench.fill import PREFIX, PREFIX_END, fill, key
from tests.support.client import Client
from tests.support.snapshots import hash_kv, restore, stream

KEYS = int(os.environ.get("RUSD_RECOVERY_KEYS", "5000"))
#: Seconds from the start of the restored members to a linearizable read of each, also on a loaded
#: machine.
SERVES = 30.0

pytestmark = pytest.mark.timeout(1800)


def counted(client: Client) -> int:
    request = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END, count_only=True)
    count: int = client.call("/etcdserverpb.KV/Range", request, rpc.RangeResponse).count
    return count


def test_three_members_restored_from_a_large_store_serve_it_within_seconds(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.db"
    with LocalCluster(3, flags=["--initial-cluster-token=restored"]) as cluster:
        leader = cluster.leader()
        fill(cluster.endpoints[leader], 0, KEYS)
        # (A tenth of them has a history.)
        fill(cluster.endpoints[leader], 0, KEYS // 10, seed=2)
        with Client(cluster.endpoints[leader]) as client:
            newest = client.range(key(KEYS - 1))
            before = hash_kv(client)
            with file.open("wb") as out:
                for message in stream(client, timeout=600):
                    out.write(message.blob)
        cluster.stop_all()
        for index in range(3):
            restore(cluster, index, file)
        started = time.monotonic()
        cluster.start_all()
        cluster.wait_healthy(SERVES)
        for endpoint in cluster.endpoints:
            with Client(endpoint) as client:
                assert client.range(key(KEYS - 1)).kvs == newest.kvs
        assert time.monotonic() - started < SERVES
        for endpoint in cluster.endpoints:
            with Client(endpoint) as client:
                assert counted(client) == KEYS
                assert hash_kv(client) == before
        with Client(cluster.endpoints[0]) as client:
            assert client.put(b"after").header.revision == newest.header.revision + 1
