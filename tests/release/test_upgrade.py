"""Data and clusters of the release before: opened, upgraded member by member, and moved back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.local import LocalCluster, rusd_command
from rusd.proto import rpc_pb2 as rpc
from tests.release import previous
from tests.release.build import ROOT, git
from tests.support.client import Client
from tests.support.load import Readers, Writers, revision_of, wait_applied

pytestmark = pytest.mark.timeout(300)

EVERYTHING = {"key": b"\0", "range_end": b"\0"}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the release before."""
    revision = previous.previous()
    if revision is None:
        pytest.skip(previous.NO_HISTORY)
    print(f"the release before: {previous.described(revision)}")
    return previous.installed(revision, tmp_path_factory.mktemp("old")).command("rusd")


def running(cluster: LocalCluster, index: int) -> str:
    """The `rusd` that a member was started from, as its process tells."""
    line = Path(f"/proc/{cluster.members[index].pid}/cmdline").read_bytes().split(b"\0")
    return line[1].decode()


def filled(client: Client) -> None:
    """Versions, tombstones, a compaction, a lease, and values from none to 100 kB."""
    lease = client.grant(3600).ID
    for number in range(200):
        client.put(b"k%03d" % (number % 120), b"v" * (number % 7))
    client.put(b"large", b"x" * 100_000)
    client.put(b"leased", b"1", lease=lease)
    client.delete(b"k000", b"k010")
    client.compact(client.put(b"compacted").header.revision)
    client.put(b"k000", b"again")
    client.delete(b"k020")


def contents(client: Client) -> tuple[object, ...]:
    """All that a client can ask of the store, without term and member."""
    keys = client.range(**EVERYTHING)
    hashed = client.hash_kv()
    leases = [client.time_to_live(each.ID, keys=True) for each in client.leases().leases]
    granted = [(each.ID, each.grantedTTL, [*each.keys]) for each in leases]
    return (
        [*keys.kvs],
        keys.header.revision,
        (hashed.hash, hashed.compact_revision),
        granted,
        [(each.ID, each.name) for each in client.members().members],
    )


@pytest.mark.parametrize("end", [LocalCluster.stop, LocalCluster.kill], ids=["stopped", "killed"])
def test_this_release_opens_the_data_of_the_one_before(
    old: list[str], end: Callable[[LocalCluster, int], object], tmp_path: Path
) -> None:
    with LocalCluster(1, binary=old, directory=tmp_path / "data") as one:
        with Client(one.endpoints[0]) as client:
            filled(client)
            before = contents(client)
        end(one, 0)
        one.set_binary(0, rusd_command())
        one.restart(0)
        one.wait_healthy()
        with Client(one.endpoints[0]) as client:
            assert contents(client) == before
            with client.watch() as watch:
                watch.create(b"k000", start_revision=before[2][1] + 1)
                assert next(iter(watch.events()))[1].kv.value == b"again"
            assert client.put(b"new").header.revision == before[1] + 1
        assert "error" not in one.members[0].log_of_this_run().lower()


def test_a_cluster_is_upgraded_and_moved_back_under_writes(old: list[str]) -> None:
    """Two of the release before and one of this, two of this and one before, and back again: no
    acknowledged write is lost, no read is stale, and all members hash the same.
    """
    with LocalCluster(3, binary=old) as three, Writers(three.endpoints) as writers:
        writers.wait_for(200)
        for release in (rusd_command(), old):
            for index in range(3):
                move(three, index, release, writers)
        writers.stop()
        writers.check(three.endpoints, revision_of(three.endpoints[0]))
        assert len(writers.acknowledged) > 1000


def move(three: LocalCluster, index: int, release: list[str], writers: Writers) -> None:
    """Stop a member and start it from the other release, under load; compare all members."""
    three.stop(index)
    three.set_binary(index, release)
    three.restart(index)
    three.wait_healthy()
    assert [running(three, index)] == release
    with Readers(list(three.endpoints), writers) as readers:
        writers.wait_for(150)
    assert not readers.failures, readers.failures[:3]
    # A change of the leader: each release leads the other.
    leader = three.leader()
    with Client(three.endpoints[leader]) as client:
        target = three.members[(leader + 1) % 3].name
        client.move_leader(next(m.ID for m in client.members().members if m.name == target))
    writers.wait_for(50)
    assert len(hashes(three)) == 1


def hashes(three: LocalCluster) -> set[tuple[int, int]]:
    """HashKV of every member at one revision."""
    revision = revision_of(three.endpoints[0])
    found = set()
    for endpoint in three.endpoints:
        with Client(endpoint) as client:
            wait_applied(client, revision)
            answer: rpc.HashKVResponse = client.hash_kv(revision)
            found.add((answer.hash, answer.compact_revision))
    return found


def test_the_release_before_is_one_after_which_main_rested() -> None:
    log = ["100000 head", "99000 same-work", "70000 before-the-pause", "60000 rested"]
    assert previous.settled(log) == "before-the-pause"
    assert previous.settled(["100000 head", "95000 rested-but-new", "94000 older"]) is None
    assert previous.settled(["100000 only"]) is None


def test_a_clone_without_history_says_that_upgrades_are_not_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(tmp_path / "shallow"))
    monkeypatch.setattr(previous, "ROOT", tmp_path / "shallow")
    monkeypatch.delenv("PREVIOUS", raising=False)
    assert previous.previous() is None
    assert "NOT tested" in previous.NO_HISTORY
