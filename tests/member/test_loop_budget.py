"""No operation holds the event loop for longer than half a heartbeat interval, on a large store.

The member's own watchdog is the judge. An operation fails if it breaks the budget in each of
ATTEMPTS attempts: a disturbance of the machine passes, work that is too long does not.
`make test` runs it with 100,000 keys, `make test-budget` with a million (RUSD_BUDGET_KEYS).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.request
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.bench.pipeline import run as send_all
from tests.support.auth_pair import auth_call
from tests.support.client import Client, WatchStream
from tests.support.large_store import PREFIX, PREFIX_END, grant_leases, key, put_keys, stopped
from tests.support.load import revision_of
from tests.support.loop_report import Held, LoopReport

KEYS = int(os.environ.get("RUSD_BUDGET_KEYS", "100000"))
LEASES = KEYS // 5
WATCHERS = KEYS // 100
STREAMS = 10
#: Keys with values of so many bytes.
LARGE, LARGE_BYTES = 128, 1_000_000
ATTEMPTS = 3
#: Seconds that an operation may take on a machine that is busy with much else.
LONG = 300.0
#: Expiries to wait for: some seconds' worth.
EXPIRED = 3000
#: A lease that holds all keys.
LEASE = 7

pytestmark = pytest.mark.timeout(2 * LONG)

MAINTENANCE = "/etcdserverpb.Maintenance/"
#: The command with a line in the log for each hold: further attempts would not be told.
RUN = """
from rusd.base.logs import LimitedLog
from rusd.cli import console

LimitedLog.BURST = 1000
console()
"""
RUSD = [sys.executable, "-c", RUN]
#: The command with all slices of a piece of work made one.
LONG_SLICE = """
import rusd.base.sliced

async def run(slices):
    return rusd.base.sliced.finish(slices)

rusd.base.sliced.run = run
from rusd.cli import console
console()
"""


@dataclass
class Running:
    """A member, and what its watchdog says."""

    cluster: LocalCluster
    client: Client
    report: LoopReport

    @property
    def endpoint(self) -> str:
        return self.cluster.endpoints[0]


@contextmanager
def running(
    directory: Path, binary: Sequence[str] = RUSD, flags: Sequence[str] = ()
) -> Iterator[Running]:
    """A member on the data in `directory`."""
    with (
        LocalCluster(1, directory=directory, binary=binary, flags=flags) as cluster,
        Client(cluster.endpoints[0]) as client,
    ):
        yield Running(cluster, client, LoopReport(cluster.members[0]))


@contextmanager
def running_copy(
    stored: Path, binary: Sequence[str] = RUSD, flags: Sequence[str] = ()
) -> Iterator[Running]:
    copy = filled(stored, f"{stored.name}-copy-{uuid.uuid4().hex[:8]}")
    try:
        with running(copy, binary, flags) as one:
            yield one
    finally:
        shutil.rmtree(copy)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a member that was stopped after its first start."""
    directory = tmp_path_factory.mktemp("budget") / "empty"
    with running(directory):
        pass
    return directory


def filled(stored: Path, name: str) -> Path:
    """A copy, for a member on other ports."""
    directory = stored.with_name(name)
    shutil.copytree(stored, directory, ignore=shutil.ignore_patterns("ports.json"))
    return directory


@pytest.fixture(scope="module")
def with_keys(empty: Path) -> Path:
    directory = filled(empty, "keys")
    with stopped(directory / "rusd-1") as machine:
        put_keys(machine, KEYS)
    return directory


@pytest.fixture(scope="module")
def with_large_values(empty: Path) -> Path:
    """Each written twice, in revisions of a size that etcd's clients can write."""
    directory = filled(empty, "large")
    with stopped(directory / "rusd-1") as machine:
        for _ in range(2):
            put_keys(machine, LARGE, value=b"v" * LARGE_BYTES, batch=1)
    return directory


@pytest.fixture(scope="module")
def with_versions(empty: Path) -> Path:
    """Half as many keys, each written twice."""
    directory = filled(empty, "versions")
    with stopped(directory / "rusd-1") as machine:
        for _ in range(2):
            put_keys(machine, KEYS // 2)
    return directory


@pytest.fixture(scope="module")
def with_lease(empty: Path) -> Path:
    directory = filled(empty, "lease")
    with stopped(directory / "rusd-1") as machine:
        grant_leases(machine, LEASE, 1, 100_000)
        put_keys(machine, KEYS, value=b"v", lease=LEASE)
    return directory


@pytest.fixture(scope="module")
def with_leases(empty: Path) -> Path:
    directory = filled(empty, "leases")
    with stopped(directory / "rusd-1") as machine:
        grant_leases(machine, 1, LEASES, 100_000)
    return directory


@pytest.fixture(scope="module")
def with_leases_of_a_second(empty: Path) -> Path:
    directory = filled(empty, "expiring")
    with stopped(directory / "rusd-1") as machine:
        grant_leases(machine, 1, LEASES, 1)
    return directory


@pytest.fixture(scope="module")
def reading(with_keys: Path) -> Iterator[Running]:
    """One member for all operations that change nothing."""
    with running_copy(with_keys) as one:
        yield one


def within_budget(attempt: Callable[[], list[Held]]) -> None:
    """Fails with what held the loop if no attempt stays within the budget."""
    for _ in range(ATTEMPTS):
        held = attempt()
        if not held:
            return
    raise AssertionError("\n".join(map(str, held)))


# --- what changes nothing


def whole(client: Client, **options: object) -> rpc.RangeResponse:
    return client.range(PREFIX, PREFIX_END, timeout=LONG, **options)


def all_keys(client: Client) -> None:
    assert len(whole(client).kvs) == KEYS


def half_of_the_keys(client: Client) -> None:
    assert len(whole(client, limit=KEYS // 2).kvs) == KEYS // 2


def count_only(client: Client) -> None:
    assert whole(client, count_only=True).count == KEYS


def keys_only(client: Client) -> None:
    assert len(whole(client, keys_only=True).kvs) == KEYS


def sorted_by_value(client: Client) -> None:
    order, target = rpc.RangeRequest.DESCEND, rpc.RangeRequest.VALUE
    assert len(whole(client, sort_order=order, sort_target=target).kvs) == KEYS


def last_key(client: Client) -> None:
    found = whole(client, sort_order=rpc.RangeRequest.DESCEND, limit=1)
    assert [kv.key for kv in found.kvs] == [key(KEYS - 1)]


def old_revision(client: Client) -> None:
    """Half of the keys did not live yet."""
    revision = client.range(b"x").header.revision // 2
    assert 0 < len(whole(client, revision=revision).kvs) < KEYS


def streamed(client: Client) -> None:
    request = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END)
    method = client.channel.unary_stream(
        "/etcdserverpb.KV/RangeStream",
        request_serializer=rpc.RangeRequest.SerializeToString,
        response_deserializer=rpc.RangeStreamResponse.FromString,
    )
    parts = method(request, timeout=LONG)
    assert sum(len(part.range_response.kvs) for part in parts) == KEYS


def txn_of_ranges(client: Client) -> None:
    rows = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END, limit=KEYS // 4)
    counting = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END, count_only=True)
    operations = [rpc.RequestOp(request_range=one) for one in (rows, counting, rows, counting)]
    found = client.txn(rpc.TxnRequest(success=operations), timeout=LONG)
    assert len(found.responses) == 4


def txn_of_compares(client: Client) -> None:
    condition = rpc.Compare(key=PREFIX, range_end=PREFIX_END, target=rpc.Compare.VERSION, version=1)
    assert client.txn(rpc.TxnRequest(compare=[condition] * 2), timeout=LONG).succeeded


def hash_of_everything(client: Client) -> None:
    assert client.call(MAINTENANCE + "Hash", rpc.HashRequest(), rpc.HashResponse, LONG).hash


def hash_of_the_keys(client: Client) -> None:
    assert client.call(MAINTENANCE + "HashKV", rpc.HashKVRequest(), rpc.HashKVResponse, LONG).hash


def defragment(client: Client) -> None:
    client.call(MAINTENANCE + "Defragment", rpc.DefragmentRequest(), rpc.DefragmentResponse, LONG)


def members_and_status(client: Client) -> None:
    for _ in range(100):
        assert len(client.members().members) == 1
        assert client.status().dbSize


@pytest.mark.parametrize(
    "operation",
    [
        all_keys, half_of_the_keys, count_only, keys_only, sorted_by_value, last_key, old_revision,
        streamed, txn_of_ranges, txn_of_compares, hash_of_everything, hash_of_the_keys, defragment,
        members_and_status,
    ],
)  # fmt: skip
def test_reads_stay_within_the_budget(
    reading: Running, operation: Callable[[Client], None]
) -> None:
    def attempt() -> list[Held]:
        operation(reading.client)
        return reading.report.beyond_budget()

    within_budget(attempt)


def test_reads_of_large_values_stay_within_the_budget(with_large_values: Path) -> None:
    of_value = {"sort_target": rpc.RangeRequest.VALUE}
    descending = {"sort_order": rpc.RangeRequest.DESCEND, "keys_only": True}
    half = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END, limit=LARGE // 2)
    single = [rpc.RangeRequest(key=key(number)) for number in range(LARGE // 2)]
    wanted = rpc.Compare(key=PREFIX, range_end=PREFIX_END, target=rpc.Compare.VERSION, version=2)

    def ranges(*requests: rpc.RangeRequest, conditions: Sequence[rpc.Compare] = ()) -> Any:
        operations = [rpc.RequestOp(request_range=one) for one in requests]
        return rpc.TxnRequest(compare=conditions, success=operations)

    with running_copy(with_large_values) as one:
        client = one.client
        older = client.range(b"x").header.revision - LARGE
        operations: list[Callable[[], object]] = [
            *(partial(whole, client, **options) for options in (
                {}, {"revision": older}, of_value, descending, {**of_value, **descending},
            )),
            *(partial(client.txn, request, timeout=LONG) for request in (
                ranges(half), ranges(*single), ranges(conditions=[wanted] * 2),
            )),
        ]  # fmt: skip

        def attempt() -> list[Held]:
            for operation in operations:
                assert operation()
            return one.report.beyond_budget()

        within_budget(attempt)


def test_long_answers_over_json_stay_within_the_budget(with_large_values: Path) -> None:
    everything = {"key": base64(PREFIX), "range_end": base64(PREFIX_END)}
    single = [{"request_range": {"key": base64(key(number))}} for number in range(LARGE)]

    with running_copy(with_large_values) as one:

        def attempt() -> list[Held]:
            for path, request in (("range", everything), ("txn", {"success": single})):
                sent = json.dumps(request).encode()
                url = f"http://{one.endpoint}/v3/kv/{path}"
                with urllib.request.urlopen(url, sent, timeout=LONG) as answer:
                    size = sum(map(len, iter(partial(answer.read, 1 << 20), b"")))
                assert size > LARGE * LARGE_BYTES
            return one.report.beyond_budget()

        within_budget(attempt)


def test_pages_stay_within_the_budget(reading: Running) -> None:
    def attempt() -> list[Held]:
        for page in ("metrics", "health", "livez", "readyz", "version") * 20:
            url = f"http://{reading.endpoint}/{page}"
            with urllib.request.urlopen(url, timeout=LONG) as answer:
                assert answer.read()
        return reading.report.beyond_budget()

    within_budget(attempt)


def base64(text: bytes) -> str:
    return urlsafe_b64encode(text).decode()


def test_pages_of_the_console_stay_within_the_budget(reading: Running) -> None:
    middle = revision_of(reading.endpoint) // 2

    def level(prefix: bytes, separator: bytes, **more: object) -> dict[str, object]:
        return {"prefix": base64(prefix), "separator": base64(separator), **more}

    # All keys in one branch, none in any, all behind the first digits; then as they were.
    levels = [level(b"", b"/"), level(PREFIX, b""), level(PREFIX, b"9")]
    levels += [{**one, "revision": middle} for one in levels]

    def attempt() -> list[Held]:
        for query in levels * 5:
            found = page(reading, f"/console/api/level?{urlencode(query)}")
            assert found["entries"]
        for name in ("cluster", "samples", "times"):
            assert page(reading, f"/console/api/{name}")
        history = urlencode({"key": base64(key(1))})
        assert page(reading, f"/console/api/history?{history}")["versions"]
        # The list of keys, and what locks are looked for in.
        for start in range(0, KEYS, KEYS // 10):
            first, end = base64(key(start)), base64(PREFIX_END)
            asked = {"key": first, "range_end": end, "limit": "1000", "keys_only": True}
            assert page(reading, "/v3/kv/range", asked)["kvs"]
        return reading.report.beyond_budget()

    within_budget(attempt)


def page(one: Running, path: str, body: object = None) -> dict[str, Any]:
    """Ask for a page of the member as a browser does, for the gateway with a body."""
    sent = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{one.endpoint}{path}", sent, timeout=LONG) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_watchers_that_catch_up_stay_within_the_budget(reading: Running) -> None:
    """Each of its own key, and one in a hundred of a range."""

    def attempt() -> list[Held]:
        # The newest tenth of the keys, and of the revisions.
        oldest, step = KEYS - KEYS // 10, KEYS // 10 // WATCHERS
        revision = revision_of(reading.endpoint) // 10 * 9
        with Client(reading.endpoint) as client:
            streams = [client.watch() for _ in range(STREAMS)]
            for number in range(WATCHERS):
                first = oldest + number * step
                end = b"" if number % 101 else key(first + KEYS // 1000)
                streams[number % STREAMS].create(key(first), end, start_revision=revision)
            for stream in streams:
                told: set[int] = set()
                while len(told) < WATCHERS // STREAMS:
                    response = stream.receive(LONG)
                    if response.events:
                        told.add(response.watch_id)
        return reading.report.beyond_budget()

    within_budget(attempt)


# --- what changes the store: each attempt on a copy of it


def changing(stored: Path, operation: Callable[[Running], None]) -> None:
    def attempt() -> list[Held]:
        with running_copy(stored) as one:
            operation(one)
            return one.report.beyond_budget()

    within_budget(attempt)


def test_changes_of_large_values_stay_within_the_budget(with_large_values: Path) -> None:
    """And their events with the values before: live, from history, in fragments, as JSON."""
    quarter, half = LARGE // 4, LARGE // 2

    def put(client: Client, numbers: Iterable[int], **options: bool) -> None:
        puts = (rpc.PutRequest(key=key(one), value=b"v", **options) for one in numbers)
        operations = [rpc.RequestOp(request_put=one) for one in puts]
        assert client.txn(rpc.TxnRequest(success=operations), timeout=LONG).succeeded

    def receive(stream: WatchStream) -> None:
        for _, event in islice(stream.events(LONG), LARGE):
            assert len(event.prev_kv.value) == LARGE_BYTES

    def operation(one: Running) -> None:
        client, watched = one.client, (PREFIX, PREFIX_END)
        begin = revision_of(one.endpoint) + 1
        live = [client.watch() for _ in range(2)]
        for stream, fragment in zip(live, (False, True), strict=True):
            stream.create(*watched, prev_kv=True, fragment=fragment)
            assert stream.receive(LONG).created
        put(client, range(quarter), prev_kv=True)
        put(client, range(quarter, half), ignore_lease=True)
        request = rpc.DeleteRangeRequest(key=key(half), range_end=PREFIX_END, prev_kv=True)
        path = "/etcdserverpb.KV/DeleteRange"
        found = client.call(path, request, rpc.DeleteRangeResponse, LONG)
        assert len(found.prev_kvs) == LARGE - half
        past = [client.watch() for _ in range(2)]
        for stream, fragment in zip(past, (False, True), strict=True):
            stream.create(*watched, prev_kv=True, fragment=fragment, start_revision=begin)
        for stream in live + past:
            receive(stream)
        wanted = {"key": base64(PREFIX), "range_end": base64(PREFIX_END), "prev_kv": True}
        created = json.dumps({"create_request": {**wanted, "start_revision": begin}}).encode()
        with urllib.request.urlopen(f"http://{one.endpoint}/v3/watch", created, LONG) as answer:
            size = 0
            while size < LARGE * LARGE_BYTES:
                size += len(answer.read1(1 << 20))

    changing(with_large_values, operation)


@pytest.mark.parametrize("prev_kv", [False, True])
def test_a_delete_of_all_keys_stays_within_the_budget(with_keys: Path, prev_kv: bool) -> None:
    def operation(one: Running) -> None:
        request = rpc.DeleteRangeRequest(key=PREFIX, range_end=PREFIX_END, prev_kv=prev_kv)
        path = "/etcdserverpb.KV/DeleteRange"
        found = one.client.call(path, request, rpc.DeleteRangeResponse, LONG)
        assert found.deleted == KEYS
        assert len(found.prev_kvs) == KEYS * prev_kv

    changing(with_keys, operation)


def test_a_txn_on_all_keys_stays_within_the_budget(with_keys: Path) -> None:
    def operation(one: Running) -> None:
        rows = rpc.RangeRequest(key=PREFIX, range_end=PREFIX_END, limit=KEYS // 4)
        deletion = rpc.DeleteRangeRequest(key=key(KEYS // 4), range_end=PREFIX_END)
        request = rpc.TxnRequest(
            success=[
                rpc.RequestOp(request_range=rows),
                rpc.RequestOp(request_delete_range=deletion),
                rpc.RequestOp(request_range=rows),
            ]
        )
        found = one.client.txn(request, timeout=LONG)
        assert found.responses[1].response_delete_range.deleted == KEYS - KEYS // 4

    changing(with_keys, operation)


@pytest.mark.parametrize("conditions", [False, True])
def test_many_txns_on_cold_keys_stay_within_the_budget(with_keys: Path, conditions: bool) -> None:
    """Each key is read by one of them only; their values before are answered."""
    at_once, operations = 64, 128
    each = 2 * operations if conditions else operations

    def txn(first: int) -> bytes:
        # (Neighbours would be in the same block of the database.)
        keys = [key((first + one * (KEYS // each)) % KEYS) for one in range(each)]
        puts = (rpc.PutRequest(key=one, value=b"v", prev_kv=True) for one in keys[-operations:])
        compared = keys[:-operations]
        return rpc.TxnRequest(
            compare=[
                rpc.Compare(key=one, target=rpc.Compare.VERSION, version=1) for one in compared
            ],
            success=[rpc.RequestOp(request_put=one) for one in puts],
        ).SerializeToString()

    def operation(one: Running) -> None:
        txns = map(txn, range(min(300, KEYS // each)))
        send_all(one.endpoint, "/etcdserverpb.KV/Txn", txns, at_once)

    changing(with_keys, operation)


def test_a_compaction_stays_within_the_budget(with_versions: Path) -> None:
    def operation(one: Running) -> None:
        revision = one.client.range(b"x").header.revision
        request = rpc.CompactionRequest(revision=revision, physical=True)
        one.client.call("/etcdserverpb.KV/Compact", request, rpc.CompactionResponse, LONG)

    changing(with_versions, operation)


def test_a_revoke_of_a_lease_with_all_keys_stays_within_the_budget(with_lease: Path) -> None:
    def operation(one: Running) -> None:
        request = rpc.LeaseTimeToLiveRequest(ID=LEASE, keys=True)
        path = "/etcdserverpb.Lease/LeaseTimeToLive"
        found = one.client.call(path, request, rpc.LeaseTimeToLiveResponse, LONG)
        assert len(found.keys) == KEYS
        revoking = rpc.LeaseRevokeRequest(ID=LEASE)
        path = "/etcdserverpb.Lease/LeaseRevoke"
        one.client.call(path, revoking, rpc.LeaseRevokeResponse, LONG)

    changing(with_lease, operation)


def test_grants_and_lists_of_very_many_leases_stay_within_the_budget(with_leases: Path) -> None:
    def operation(one: Running) -> None:
        path, first, count = "/etcdserverpb.Lease/Lease", 10 * LEASES, LEASES // 10
        grants = (rpc.LeaseGrantRequest(TTL=1000, ID=first + n) for n in range(count))
        send_all(one.endpoint, path + "Grant", (one.SerializeToString() for one in grants), 200)
        found = one.client.call(
            path + "Leases", rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse, LONG
        )
        assert len(found.leases) == LEASES + count
        # As the console reads them.
        assert len(page(one, "/v3/lease/leases", {})["leases"]) == LEASES + count
        revokes = (rpc.LeaseRevokeRequest(ID=first + n) for n in range(count))
        send_all(one.endpoint, path + "Revoke", (one.SerializeToString() for one in revokes), 200)

    changing(with_leases, operation)


def test_very_many_leases_that_expire_stay_within_the_budget(with_leases_of_a_second: Path) -> None:
    """A member that becomes leader delays them by etcd's rule, and ends them at its rate."""

    def attempt() -> list[Held]:
        with running_copy(with_leases_of_a_second) as one:
            path = "/etcdserverpb.Lease/LeaseLeases"
            deadline = time.monotonic() + LONG
            while True:
                found = one.client.call(path, rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse)
                if len(found.leases) <= LEASES - EXPIRED:
                    break
                assert time.monotonic() < deadline
                time.sleep(0.5)
            return LoopReport(one.cluster.members[0], since=0).beyond_budget()

    within_budget(attempt)


def test_corruption_checks_stay_within_the_budget(with_keys: Path) -> None:
    """Before serving, and all the time."""
    flags = ["--experimental-initial-corrupt-check", "--experimental-corrupt-check-time=100ms"]

    def attempt() -> list[Held]:
        with running_copy(with_keys, flags=flags) as one:
            assert b"initial corruption checking passed" in one.cluster.members[0].log.read_bytes()
            for _ in range(3):
                hash_of_the_keys(one.client)
            return LoopReport(one.cluster.members[0], since=0).beyond_budget()

    within_budget(attempt)


def test_rechecks_of_all_watchers_stay_within_the_budget(with_keys: Path) -> None:
    """Authentication is enabled: none of them may read any more."""

    def operation(one: Running) -> None:
        streams = [one.client.watch() for _ in range(STREAMS)]
        for number in range(WATCHERS):
            streams[number % STREAMS].create(key(number), b"" if number % 2 else PREFIX_END)
        for stream in streams:
            for _ in range(WATCHERS // STREAMS):
                assert stream.receive(LONG).created
        root = {"name": "root", "password": "secret"}
        for method, fields in (
            ("UserAdd", root), ("UserGrantRole", {"user": "root", "role": "root"}),
            ("AuthEnable", {}),
        ):  # fmt: skip
            one.client.call(*auth_call(method, **fields))
        for stream in streams:
            for _ in range(WATCHERS // STREAMS):
                assert stream.receive(LONG).canceled

    changing(with_keys, operation)


@pytest.mark.parametrize("stored", ["with_keys", "with_lease", "with_leases"])
def test_a_start_stays_within_the_budget(stored: str, request: pytest.FixtureRequest) -> None:
    """From the moment on at which the state is open: then a member has peers and clients."""
    directory = request.getfixturevalue(stored)

    def attempt() -> list[Held]:
        with running_copy(directory) as one:
            return LoopReport(one.cluster.members[0], since=0).beyond_budget()

    within_budget(attempt)


# --- the test of the test


def test_a_slice_that_is_too_long_is_noticed(with_keys: Path) -> None:
    with running_copy(with_keys, [sys.executable, "-c", LONG_SLICE]) as one:
        # The longest of the operations that only read.
        sorted_by_value(one.client)
        held = one.report.beyond_budget()
    assert held
    assert any(one.callback.startswith("api/kv.py:") for one in held), held
