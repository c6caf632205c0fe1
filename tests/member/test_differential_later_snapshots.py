"""Snapshots of a large store, each made of the one before: real etcd serves what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from tests.support.client import Client
from tests.support.pair import command
from tests.support.snapshots import buckets, hash_kv, run, save, served_by_etcd
from tests.support.waiting import wait

#: Together more than a file needs to be kept.
VALUES, VALUE = 320, 64 << 10


@pytest.fixture(scope="module")
def member() -> Iterator[LocalCluster]:
    with LocalCluster(1) as cluster:
        with Client(cluster.endpoints[0]) as client:
            for number in range(VALUES):
                client.put(b"large/%03d" % number, os.urandom(VALUE))
        yield cluster


@pytest.fixture
def client(member: LocalCluster) -> Iterator[Client]:
    with Client(member.endpoints[0]) as one:
        yield one


def kept(member: LocalCluster) -> int:
    """The inode of the only file."""
    exports = member.members[0].data_dir / "member" / "exports"

    def alone() -> int | None:
        names = os.listdir(exports)
        return (exports / "kept").stat().st_ino if names == ["kept"] else None

    return wait(alone, "the file is not kept", 60.0)


def change(client: Client, step: int) -> None:
    """New values, other ones, deletions, and every second time a compaction."""
    client.put(b"new/%d" % step, os.urandom(VALUE))
    client.put(b"large/%03d" % (10 * step), b"small")
    client.delete(b"large/%03d" % (10 * step + 5))
    if step % 2:
        revision = client.range(b"a").header.revision
        client.compact(revision - 1, physical=True)


def test_they_are_one_file_that_goes_on(member: LocalCluster, client: Client) -> None:
    save(client)
    first = kept(member)
    for step in range(4):
        change(client, step)
        file = save(client)
        assert kept(member) == first
        found = buckets(file)[b"key"]
        assert any(b"new/%d" % step in value for value in found.values())


def test_real_etcd_serves_what_the_last_one_holds(
    member: LocalCluster, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot.db"
    for step in range(4, 9):
        change(client, step)
        file.unlink(missing_ok=True)
        run(command("etcdctl"), "--endpoints", member.endpoints[0], "snapshot", "save", file)
    everything = client.range(b"\0", range_end=b"\0")
    hashes = hash_kv(client)
    with served_by_etcd(file) as real:
        there = real.range(b"\0", range_end=b"\0")
        assert list(there.kvs) == list(everything.kvs)
        assert there.header.revision == everything.header.revision
        assert hash_kv(real) == hashes
        # It writes into pages that were kept, and into those that are free.
        for number in range(VALUES // 2):
            real.put(b"more/%03d" % number, os.urandom(VALUE))
        real.compact(real.range(b"a").header.revision, physical=True)
        assert real.range(b"more/", range_end=b"more0", count_only=True).count == VALUES // 2
