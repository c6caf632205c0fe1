"""A leader that was cut off has an entry of its own, where the others went on by many megabytes."""

from __future__ import annotations

import contextlib
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from cluster.chaos.network import CUT
from cluster.chaos.subject import Subject
from tests.support.client import Client, Refused
from tests.support.load import wait_applied
from tests.support.waiting import wait

VALUE = b"x" * (1 << 20)
#: More than an append holds (4 MiB), and than is sent in one turn (8 MiB).
PUTS = 12


def journal_bytes(cluster: Subject, index: int) -> float:
    """Bytes that a member has written to its log."""
    with urllib.request.urlopen(f"{cluster.members[index].metrics_url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = "etcd_disk_wal_write_bytes_total "
    return next(float(line[len(name) :]) for line in lines if line.startswith(name))


def try_to_put(endpoint: str, key: bytes, timeout: float) -> int:
    """Return the revision of a put; 0 if it is not acknowledged in time."""
    with Client(endpoint) as client, contextlib.suppress(Refused):
        return client.put(key, VALUE, timeout=timeout).header.revision
    return 0


def test_a_conflicting_entry_is_replaced_by_more_than_one_append_holds() -> None:
    with (
        Subject("rusd", 3, network="proxy", with_disks=False) as cluster,
        ThreadPoolExecutor(1) as pool,
    ):
        old = cluster.wait_leader()
        others = [index for index in range(3) if index != old]
        before = journal_bytes(cluster, old)
        links = [(old, one) for one in others] + [(one, old) for one in others]
        cluster.network.set(links, CUT)
        try:
            # (A leader appends one entry at a time until it is committed.)
            lost = pool.submit(try_to_put, cluster.endpoints[old], b"lost", 1.0)
            wait(
                lambda: journal_bytes(cluster, old) - before > len(VALUE) or None,
                "the leader that is cut off appends nothing",
                20.0,
            )
            assert lost.result() == 0
            for number in range(PUTS):
                while not (last := try_to_put(cluster.endpoints[others[0]], b"%d" % number, 10.0)):
                    pass
        finally:
            cluster.network.heal()
        hashes = set()
        for endpoint in cluster.endpoints:
            with Client(endpoint) as client:
                wait_applied(client, last, 60)
                hashes.add(client.hash_kv(last).hash)
        assert len(hashes) == 1
