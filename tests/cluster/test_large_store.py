"""Three members with a large store, under load: one request that deletes all keys, and a snapshot.

`make test` runs it with 100,000 keys, `make test-budget` with a million (RUSD_BUDGET_KEYS).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from tests.cluster.test_long_requests import LONG, delete_all, equal_hashes, the_same_leader
from tests.member.test_loop_budget import ATTEMPTS, KEYS
from tests.support.client import Client, Refused
from tests.support.large_store import PREFIX, PREFIX_END, put_keys, stopped
from tests.support.load import revision_of, wait_applied
from tests.support.loop_report import Held, LoopReport
from tests.support.pair import command

#: Seconds between two calls of one client of the load.
PACE = 0.005
#: Seconds: the election timeout at default flags.
ELECTION = 1.0
#: A member that was away for so many writes is sent a snapshot.
FLAGS = ["--snapshot-count=100", "--experimental-snapshot-catchup-entries=50"]

pytestmark = pytest.mark.timeout(2 * LONG)


@contextmanager
def running(directory: Path) -> Iterator[LocalCluster]:
    """Three members, each with KEYS keys."""
    options = {"directory": directory, "binary": [command("rusd")], "flags": FLAGS}
    with LocalCluster(3, **options) as cluster:
        data_dirs = [member.data_dir for member in cluster.members]
    for data_dir in data_dirs:
        with stopped(data_dir) as machine:
            put_keys(machine, KEYS)
    with LocalCluster(3, **options) as cluster:
        yield cluster


class Load:
    """Calls one after the other, at a pace, until it is left; the seconds each of them took."""

    def __init__(self, endpoint: str, call: Callable[[Client, int], object]) -> None:
        self._endpoint, self._call = endpoint, call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took: list[float] = []
        self.failed: list[Refused] = []
        #: Calls that waited longer than a member lets a request wait (7 s at the defaults).
        self.timed_out = 0

    def _run(self) -> None:
        with Client(self._endpoint) as client:
            while not self._stop.wait(PACE):
                began = time.monotonic()
                try:
                    self._call(client, len(self.took))
                except Refused as error:
                    if error != TIMED_OUT:
                        self.failed.append(error)
                        return
                    self.timed_out += 1
                self.took.append(time.monotonic() - began)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        wanted = len(self.took) + more
        deadline = time.monotonic() + LONG
        while len(self.took) < wanted:
            assert not self.failed and time.monotonic() < deadline
            time.sleep(PACE)


#: What a write is refused with that waits behind the deletion for too long, as in etcd.
TIMED_OUT = Refused("UNAVAILABLE", "etcdserver: request timed out")
REQUEST_TIMEOUT = 7.0


def put(client: Client, number: int) -> None:
    client.put(b"load/%06d" % number, b"v", timeout=LONG)


def read(client: Client, number: int) -> None:
    client.range(b"load/%06d" % number, serializable=True, timeout=LONG)


def test_deleting_all_keys_in_one_request_costs_no_leader(tmp_path: Path) -> None:
    """Writes that are ordered behind the deletion are answered after it, as in etcd; everything
    else goes on, on all members.
    """
    with running(tmp_path) as cluster:
        reports = [LoopReport(member) for member in cluster.members]
        with (
            the_same_leader(cluster) as endpoint,
            Client(endpoint) as client,
            Load(endpoint, put) as puts,
            Load(endpoint, read) as reads,
        ):
            puts.wait_for(20)
            reads.wait_for(20)
            before = len(reads.took)
            began = time.monotonic()
            assert delete_all(client) == KEYS
            took = time.monotonic() - began
            during = reads.took[before:]
            puts.wait_for(20)
        print(f"deletion: {took:.2f} s, longest put: {max(puts.took):.2f} s,", end=" ")
        print(f"longest of {len(during)} reads: {max(during):.3f} s")
        assert not puts.failed and not reads.failed
        # On a busy machine the deletion may take longer than a request may wait.
        assert not puts.timed_out or took > REQUEST_TIMEOUT - ELECTION
        assert max(puts.took) < took + ELECTION
        assert max(during) < ELECTION
        for report in reports:
            assert report.beyond_budget() == []
        with Client(endpoint) as client:
            assert client.range(PREFIX, PREFIX_END, count_only=True).count == 0
        equal_hashes(cluster)


def test_a_snapshot_of_a_large_store_holds_no_member_up(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:

        def attempt() -> list[Held]:
            leader = cluster.leader()
            away = (leader + 1) % 3
            cluster.kill(away)
            with Client(cluster.endpoints[leader]) as client:
                for number in range(300):
                    put(client, number)
            reports = [LoopReport(cluster.members[n]) for n in range(3) if n != away]
            started = cluster.members[away].log.stat().st_size
            with Load(cluster.endpoints[leader], put) as puts:
                cluster.restart(away)
                with Client(cluster.endpoints[away]) as client:
                    wait_applied(client, revision_of(cluster.endpoints[leader]), LONG)
                puts.wait_for(20)
            assert not puts.failed and max(puts.took) < ELECTION
            log = cluster.members[away].log.read_bytes()[started:]
            assert b"installed a snapshot" in log
            reports.append(LoopReport(cluster.members[away], since=started))
            return [held for report in reports for held in report.beyond_budget()]

        for _ in range(ATTEMPTS):
            held = attempt()
            if not held:
                break
        assert not held, "\n".join(map(str, held))
        cluster.wait_healthy()
        equal_hashes(cluster)
