"""Clients that keep writing while members die, and remember exactly what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType

from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused

#: Seconds a single write may take before its outcome counts as unknown.
PATIENCE = 2.0


class Writers:
    """Threads that put unique keys, each to one member after the other.

    A refused or timed-out put may or may not have happened: its key is left behind as `unknown` and
    never written again, so that every key is put at most once by its client: a version above 1
    would be a proposal applied twice.
    """

    def __init__(
        self, endpoints: Sequence[str], threads: int = 4, prefix: bytes = b"load/"
    ) -> None:
        self._endpoints = list(endpoints)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.prefix = prefix
        #: Key -> value of every acknowledged put.
        self.acknowledged: dict[bytes, bytes] = {}
        #: Key -> revision the acknowledgement named.
        self.revisions: dict[bytes, int] = {}
        self.unknown: set[bytes] = set()
        #: time.monotonic() of every acknowledgement, in order.
        self.times: list[float] = []
        self._threads = [
            threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a put never came back"

    def count(self) -> int:
        return len(self.times)

    def wait_for(self, more: int, timeout: float = 30.0) -> None:
        """Wait until `more` further writes are acknowledged."""
        target = self.count() + more
        deadline = time.monotonic() + timeout
        while self.count() < target:
            assert time.monotonic() < deadline, f"{self.count()} writes; wanted {target}"
            self._stop.wait(0.01)

    def gap_after(self, moment: float) -> float:
        """Seconds from `moment` to the first acknowledgement of a write after it."""
        return min(at for at in self.times if at > moment) - moment

    def longest_gap(self, since: float) -> float:
        """The longest time without any acknowledgement after `since`, seconds."""
        times = [since, *(at for at in self.times if at >= since)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def _run(self, number: int) -> None:
        clients = [Client(endpoint) for endpoint in self._endpoints]
        n = 0
        while not self._stop.is_set():
            key = self.prefix + b"%d/%06d" % (number, n)
            client = clients[(n + number) % len(clients)]
            value = b"value of " + key
            try:
                answer = client.put(key, value, timeout=PATIENCE)
            except Refused:
                with self._lock:
                    self.unknown.add(key)
            else:
                with self._lock:
                    self.acknowledged[key] = value
                    self.revisions[key] = answer.header.revision
                    self.times.append(time.monotonic())
            n += 1
        for client in clients:
            client.close()

    def check(self, endpoints: Sequence[str], revision: int) -> None:
        """Every acknowledged put is on each member, once, at the revision it was told."""
        for endpoint in endpoints:
            with Client(endpoint) as client:
                wait_applied(client, revision)
                end = self.prefix[:-1] + bytes([self.prefix[-1] + 1])
                found = {kv.key: kv for kv in client.range(self.prefix, end, serializable=True).kvs}
            lost = self.acknowledged.keys() - found.keys()
            assert not lost, f"{len(lost)} acknowledged writes lost on {endpoint}: {min(lost)!r}"
            for key, kv in found.items():
                assert kv.version == 1, f"{key!r} applied {kv.version} times on {endpoint}"
                if key in self.acknowledged:
                    assert kv.value == self.acknowledged[key]
                    assert kv.mod_revision == self.revisions[key]
                else:
                    assert key in self.unknown, f"{key!r} was never written"


class Readers:
    """Threads that read linearizably, each from one of `endpoints` after the other; the list may be
    changed at any time. No read may be refused, or be older than what was acknowledged before it
    began.
    """

    def __init__(self, endpoints: list[str], writers: Writers, threads: int = 2) -> None:
        self.endpoints = endpoints
        self._writers = writers
        self._stop = threading.Event()
        #: What went wrong, one line each.
        self.failures: list[str] = []
        self.count = 0
        self._threads = [
            threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)
        ]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a read never came back"

    def _run(self, number: int) -> None:
        clients: dict[str, Client] = {}
        while not self._stop.is_set():
            endpoint = self.endpoints[(self.count + number) % len(self.endpoints)]
            client = clients.setdefault(endpoint, Client(endpoint))
            revision = max(list(self._writers.revisions.values())[-8:], default=0)
            try:
                answer = client.range(b"nothing")
            except Refused as refused:
                self.failures.append(f"{endpoint}: {refused}")
            else:
                if answer.header.revision < revision:
                    self.failures.append(f"{endpoint}: {answer.header.revision} < {revision}")
            self.count += 1
            self._stop.wait(0.005)
        for client in clients.values():
            client.close()


def wait_applied(client: Client, revision: int, timeout: float = 30.0) -> None:
    """Wait until the member has applied `revision`, by serializable reads."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if client.range(b"x", serializable=True).header.revision >= revision:
                return
        except Refused:
            pass
        assert time.monotonic() < deadline, f"{client.endpoint} never applied {revision}"
        time.sleep(0.02)


def revision_of(endpoint: str) -> int:
    """The cluster's revision, by a linearizable read."""
    deadline = time.monotonic() + 20
    with Client(endpoint) as client:
        while True:
            try:
                return client.range(b"x").header.revision
            except Refused:
                if time.monotonic() > deadline:
                    raise


def increment(client: Client, key: bytes) -> bool | None:
    """Add one to a counter by compare-and-swap; None when the outcome is unknown."""
    try:
        kvs = client.range(key, timeout=PATIENCE).kvs
    except Refused:
        return False
    value, mod = (int(kvs[0].value), kvs[0].mod_revision) if kvs else (0, 0)
    compare = rpc.Compare(
        key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=mod
    )
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=b"%d" % (value + 1)))
    try:
        return client.txn(rpc.TxnRequest(compare=[compare], success=[put]), PATIENCE).succeeded
    except Refused:
        return None
