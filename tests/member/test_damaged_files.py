"""A data directory that lost or changed bytes: refused with the file's name, never served from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused

LAST = b"z"


class Stopped:
    """The data of one member after a kill -9, to be damaged and started from repeatedly."""

    def __init__(self, cluster: LocalCluster, saved: Path, revision: int) -> None:
        self.cluster = cluster
        self.revision = revision
        self._saved = saved

    def damaged(self, pattern: str, damage: Callable[[Path], None]) -> Path:
        """Start with one file (the largest that fits) damaged; returns its path."""
        self.cluster.kill(0)
        home = self.cluster.members[0].data_dir
        shutil.rmtree(home)
        shutil.copytree(self._saved, home)
        path = max(home.glob(pattern), key=lambda each: each.stat().st_size)
        damage(path)
        self.cluster.restart(0)
        self.cluster.members[0].dismiss()
        return path

    def ends_with(self, text: str) -> None:
        member = self.cluster.members[0]
        assert member.wait(20) == 1, member.log_tail()
        (line,) = (one for one in member.log_of_this_run().splitlines() if '"fatal"' in one)
        assert text in line


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    saved = tmp_path_factory.mktemp("saved") / "data"
    with LocalCluster(1, flags=["--snapshot-count=200"]) as cluster:
        with Client(cluster.endpoints[0]) as client:
            for n in range(600):
                client.put(b"key/%d" % n, os.urandom(1000))
            client.call(
                "/etcdserverpb.Maintenance/Defragment",
                rpc.DefragmentRequest(),
                rpc.DefragmentResponse,
            )
            revision = client.put(LAST, b"v").header.revision
        cluster.kill(0)
        shutil.copytree(cluster.members[0].data_dir, saved)
        yield Stopped(cluster, saved, revision)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 0x40
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, len(path.read_bytes().rstrip(b"\0")) // 2)


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("member/wal/*.wal", "member/wal"),
        ("member/wal/LOCK", "member/wal/LOCK"),
        ("member/identity", "member/identity"),
        ("member/state/*/MANIFEST-*", "member/state"),
        ("member/state/*/CURRENT", "CURRENT"),
    ],
)
def test_a_damaged_file_keeps_a_member_from_starting_and_is_named(
    stopped: Stopped, pattern: str, named: str, damage: Callable[[Path], None]
) -> None:
    path = stopped.damaged(pattern, damage)
    whole_file = path.name if pattern.endswith(".wal") and damage is not Path.unlink else named
    stopped.ends_with(whole_file)


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_a_table_that_is_short_or_missing_keeps_a_member_from_starting(
    stopped: Stopped, damage: Callable[[Path], None]
) -> None:
    stopped.ends_with(stopped.damaged("member/state/*/*.sst", damage).name)


def test_a_member_that_reads_a_damaged_table_ends_and_names_it(stopped: Stopped) -> None:
    path = stopped.damaged("member/state/*/*.sst", flip)
    stopped.cluster.wait_healthy()
    with Client(stopped.cluster.endpoints[0]) as client, pytest.raises(Refused):
        client.hash_kv()
        client.range(b"key/", b"key0")
    stopped.ends_with(path.name)


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_what_the_store_lost_since_it_was_last_made_durable_comes_back_from_the_journal(
    stopped: Stopped, damage: Callable[[Path], None]
) -> None:
    stopped.damaged("member/state/*/*.log", damage)
    stopped.cluster.wait_healthy()
    with Client(stopped.cluster.endpoints[0]) as client:
        assert client.range(LAST).kvs[0].mod_revision == stopped.revision
