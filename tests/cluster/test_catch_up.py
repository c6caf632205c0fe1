"""A member that was away for longer than the log reaches catches up through a snapshot."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cluster.local import LocalCluster
from cluster.process import Member
from tests.cluster.test_membership import wait_until
from tests.support.client import Client
from tests.support.load import revision_of, wait_applied
from tests.support.pair import SUBJECT, command
from tests.support.snapshots import buckets, save

FLAGS = ["--snapshot-count=100", "--experimental-snapshot-catchup-entries=50"]


def test_a_member_stopped_for_longer_than_the_log_catches_up_and_serves() -> None:
    with LocalCluster(3, binary=[command(SUBJECT)], flags=FLAGS) as cluster:
        away = next(n for n in range(3) if n != cluster.leader())
        here = next(n for n in range(3) if n != away)
        with Client(cluster.endpoints[here]) as client:
            client.grant(600, 9)
            client.put(b"before", b"1", lease=9)
            cluster.kill(away)
            # One at a time: each put is its own log entry.
            for n in range(1000):
                client.put(b"k%03d" % (n % 300), b"%d" % n)
            client.delete(b"k000")
            revision = client.put(b"last", b"").header.revision
            cluster.restart(away)
            cluster.wait_healthy()
            expected = client.range(b"\0", b"\0", revision=revision)
            old = client.range(b"\0", b"\0", revision=revision - 500)
        with Client(cluster.endpoints[away]) as client:
            wait_applied(client, revision)
            assert client.range(b"\0", b"\0", serializable=True).kvs == expected.kvs
            assert client.range(b"\0", b"\0", revision=revision - 500).kvs == old.kvs
            assert list(client.time_to_live(9, keys=True).keys) == [b"before"]
            # It is a full member again: it takes writes and counts for the quorum.
            cluster.kill(here)
            cluster.wait_leader()
            after = client.put(b"after", b"1").header.revision
            assert after == revision + 1
            cluster.restart(here)
            cluster.wait_healthy()
        found = set()
        for endpoint in cluster.endpoints:
            with Client(endpoint) as client:
                wait_applied(client, after)
                found.add(client.hash_kv(after).hash)
        assert len(found) == 1


def test_a_watch_on_the_member_that_catches_up_has_no_gap() -> None:
    with LocalCluster(3, binary=[command(SUBJECT)], flags=FLAGS) as cluster:
        away = next(n for n in range(3) if n != cluster.leader())
        here = next(n for n in range(3) if n != away)
        with Client(cluster.endpoints[away]) as watcher, watcher.watch() as stream:
            stream.create(b"k", b"l")
            assert stream.receive().created
            cluster.pause(away)
            with Client(cluster.endpoints[here]) as client:
                for n in range(600):
                    client.put(b"k%d" % n)
            cluster.resume(away)
            seen = []
            for _, event in stream.events(30):
                seen.append(event.kv.key)
                if len(seen) == 600:
                    break
            assert seen == [b"k%d" % n for n in range(600)]
        assert revision_of(cluster.endpoints[away]) >= 601


def test_a_member_killed_while_it_is_sent_a_state_never_holds_half_of_it() -> None:
    """kill -9 at any moment of the stream and of the exchange, again and again."""
    with LocalCluster(3, flags=FLAGS) as cluster:
        away = next(n for n in range(3) if n != cluster.leader())
        with Client(cluster.endpoints[cluster.leader()]) as client:
            cluster.kill(away)
            for n in range(300):
                revision = client.put(b"k%03d" % n, os.urandom(100_000)).header.revision
            member = cluster.members[away]
            incoming = member.data_dir / "member" / "snapshots" / "incoming"
            interrupted = 0
            for n in range(8):
                cluster.restart(away)
                wait_until(lambda: incoming.exists() or installed(member))
                # A little later each time: within the stream, at its end, during the exchange.
                wait_until(lambda n=n: size(incoming) > n * 4_000_000 or installed(member))
                interrupted += not installed(member)
                cluster.kill(away)
            assert interrupted
            cluster.restart(away)
            cluster.wait_healthy()
            with Client(member.endpoint) as other:
                wait_applied(other, revision)
                assert other.hash_kv(revision).hash == client.hash_kv(revision).hash
            assert not incoming.exists()


def test_a_received_state_ends_the_snapshot_file_that_was_kept() -> None:
    with LocalCluster(3, flags=FLAGS) as cluster:
        leader = cluster.members[cluster.leader()]
        away = next(n for n in range(3) if n != cluster.leader())
        member = cluster.members[away]
        kept = member.data_dir / "member" / "exports" / "kept"
        with Client(leader.endpoint) as client, Client(member.endpoint) as other:
            # Together more than a file needs to be kept.
            for n in range(180):
                revision = client.put(b"large%03d" % n, os.urandom(100_000)).header.revision
            wait_applied(other, revision)
            save(other)
            wait_until(kept.exists)
            cluster.pause(away)
            # (Until then it is sent entries, which the sockets hold for it.)
            for _ in range(150):
                client.put(b"k", os.urandom(100_000))
            wait_until(lambda: "peer lost" in leader.log_of_this_run())
            for n in range(300):
                revision = client.put(b"k%03d" % n).header.revision
            assert kept.exists()
            cluster.resume(away)
            wait_until(lambda: installed(member))
            wait_until(lambda: not kept.exists())
            wait_applied(other, revision)
            assert buckets(save(other))[b"key"] == buckets(save(client))[b"key"]


def installed(member: Member) -> bool:
    return "installed a snapshot" in member.log_of_this_run()


def size(directory: Path) -> int:
    """Bytes of the files in a directory that may be vanishing."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in directory.iterdir():
            total += path.stat().st_size
    return total
