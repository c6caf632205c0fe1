"""Files with records that etcd never writes, and damaged ones: an error of one line that leaves
nothing behind, or a state that a member opens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.backup import etcd_records as etcd
from rusd.backup.restore import WRITE_BYTES, WRITES, restore
from rusd.bbolt import Database
from rusd.bbolt.layout import HEADER, IS_BUCKET, LEAF
from rusd.mvcc.revision import revision_key
from rusd.mvcc.size import EMPTY, StoreSize
from rusd.proto import auth_pb2, kv_pb2, lease_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.machine import StateMachine
from rusd.storage import Batch, Engine
from rusd.storage.batch import Operation
from rusd.utl.command import main
from tests.unit.bbolt.files import make

Rows = dict[bytes, bytes]
PAGE = 4096
MAX = 2**63 - 1


def kv(key: bytes, revision: int, lease: int = 0, value: bytes = b"v") -> bytes:
    message = kv_pb2.KeyValue(
        key=key, create_revision=revision, mod_revision=revision, version=1, lease=lease
    )
    message.value = value
    return message.SerializeToString()


def sound() -> dict[bytes, Rows]:
    rows = {revision_key(n): kv(b"k%d" % n, n, 7 * (n % 2), b"v" * 40) for n in range(2, 200)}
    lease = lease_pb2.Lease(ID=7, TTL=60).SerializeToString()
    user = auth_pb2.User(name=b"u", roles=["r"], password=b"x").SerializeToString()
    permission = auth_pb2.Permission(key=b"a", range_end=b"b")
    role = auth_pb2.Role(name=b"r", keyPermission=[permission]).SerializeToString()
    return {
        etcd.ALARM: {rpc.AlarmMember(memberID=1, alarm=rpc.NOSPACE).SerializeToString(): b""},
        etcd.AUTH: {etcd.AUTH_ENABLED: b"\0", etcd.AUTH_REVISION: etcd.number(3)},
        etcd.AUTH_ROLES: {b"r": role},
        etcd.AUTH_USERS: {b"u": user},
        etcd.KEY: rows,
        etcd.LEASE: {etcd.lease_key(7): lease},
        etcd.META: {etcd.SCHEDULED_COMPACTION: revision_key(5)},
    }


def outcome(content: bytes, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of a restore; empty if a member opens what was made."""
    file, data = directory / "file.db", directory / "data"
    file.write_bytes(content)
    capsys.readouterr()
    code = main(["snapshot", "restore", str(file), "--data-dir", str(data), "--skip-hash-check"])
    error = capsys.readouterr().err
    if code == 0:
        assert not error
        machine = StateMachine(data / "member" / "state")
        machine.close()
        return ""
    assert code == 1
    assert error.startswith("Error: ") and error.count("\n") == 1, error
    assert not (data / "member").exists()
    return error


CASES: list[tuple[str, bytes, Rows, str]] = [
    ("garbage for a key", etcd.KEY, {revision_key(300): b"\xff\xff"}, "damaged"),
    ("a length without an end", etcd.KEY, {revision_key(300): b"\x0a\xff"}, "damaged"),
    ("a value cut short", etcd.KEY, {revision_key(300): kv(b"key", 300)[:4]}, "damaged"),
    ("an empty key", etcd.KEY, {revision_key(300): b"\x0a\0\x18\1"}, "no key"),
    ("a key twice", etcd.KEY, {revision_key(300): b"\x0a\1a\x0a\1b"}, "no key"),
    ("a short revision", etcd.KEY, {b"\0" * 16: kv(b"a", 1)}, "no revision"),
    ("an unknown mark", etcd.KEY, {revision_key(300) + b"x": kv(b"a", 1)}, "no revision"),
    ("another separator", etcd.KEY, {b"\0" * 17: kv(b"a", 1)}, "no revision"),
    ("a negative revision", etcd.KEY, {revision_key(-1): kv(b"a", 1)}, "no revision"),
    ("a negative sub-revision", etcd.KEY, {revision_key(300, -1): kv(b"a", 1)}, "no revision"),
    ("the last revision", etcd.KEY, {revision_key(MAX): kv(b"a", 1)}, "too high"),
    ("an empty name", etcd.KEY, {revision_key(300): b""}, ""),
    ("a tombstone of no key", etcd.KEY, {revision_key(300) + b"t": b"\x0a\1z"}, ""),
    ("a lease that is not there", etcd.KEY, {revision_key(300): kv(b"a", 300, 99)}, ""),
    ("a short compaction", etcd.META, {etcd.FINISHED_COMPACTION: b"\0"}, "no revision"),
    ("a compaction at the end", etcd.META, {etcd.SCHEDULED_COMPACTION: revision_key(MAX)}, "high"),
    ("lease 0", etcd.LEASE, {b"x": lease_pb2.Lease(TTL=5).SerializeToString()}, "lease"),
    ("a lease of no time", etcd.LEASE, {b"x": lease_pb2.Lease(ID=8).SerializeToString()}, ""),
    (
        "less than no time",
        etcd.LEASE,
        {b"x": lease_pb2.Lease(ID=8, TTL=-MAX).SerializeToString()},
        "",
    ),
    (
        "a lease for ever",
        etcd.LEASE,
        {b"x": lease_pb2.Lease(ID=8, TTL=MAX).SerializeToString()},
        "TTL",
    ),
    (
        "much remaining",
        etcd.LEASE,
        {b"x": lease_pb2.Lease(ID=8, TTL=9, RemainingTTL=MAX).SerializeToString()},
        "",
    ),
    ("garbage for a lease", etcd.LEASE, {b"x": b"\xff"}, "damaged"),
    ("an alarm of a later etcd", etcd.ALARM, {b"\x08\1\x10\x63": b""}, ""),
    ("garbage for an alarm", etcd.ALARM, {b"\xff": b""}, "damaged"),
    ("a name that is not UTF-8", etcd.AUTH_USERS, {b"\xff": b"\x0a\1\xff"}, "damaged"),
    ("a role that is not UTF-8", etcd.AUTH_ROLES, {b"\xff": b"\x0a\1\xff"}, "damaged"),
    ("a role without a key", etcd.AUTH_ROLES, {b"s": b"\x0a\1s\x12\0"}, ""),
    ("a short auth revision", etcd.AUTH, {etcd.AUTH_REVISION: b"\0\0"}, "auth"),
    ("an auth revision beyond all", etcd.AUTH, {etcd.AUTH_REVISION: b"\xff" * 8}, "auth"),
]


@pytest.mark.parametrize(
    ("bucket", "rows", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_an_odd_record_is_refused_in_a_line_or_opened_by_a_member(
    bucket: bytes,
    rows: Rows,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = sound()
    records[bucket] |= rows
    error = outcome(make(records), tmp_path, capsys)
    assert expected in error
    assert bool(expected) == bool(error)


@pytest.mark.parametrize("flags", [[], ["--bump-revision", "1000000", "--mark-compacted"]])
def test_a_member_knows_the_size_of_a_restored_store_without_counting(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = tmp_path / "file.db", tmp_path / "data"
    file.write_bytes(make(sound()))
    restoring = ["snapshot", "restore", str(file), "--data-dir", str(data), "--skip-hash-check"]
    assert main([*restoring, *flags]) == 0
    count = StoreSize._count
    monkeypatch.setattr(StoreSize, "_count", None)
    machine = StateMachine(data / "member" / "state")
    store = machine.store
    known = store.size.in_use, store.size.allocated
    assert known[0] > EMPTY
    count(store.size, machine.engine, store.revision, store.finished_compact_revision)
    assert (store.size.in_use, store.size.allocated) == known
    machine.close()


def test_a_file_without_keys_of_etcd_is_refused_and_an_empty_bucket_is_a_new_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = sound()
    records[etcd.KEY] = {}
    assert outcome(make(records), tmp_path, capsys) == ""
    del records[etcd.KEY]
    (tmp_path / "other").mkdir()
    assert "no bucket of keys" in outcome(make(records), tmp_path / "other", capsys)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[list[Operation]]:
    """The operations of every write of the engine."""
    made: list[list[Operation]] = []
    write = Engine.write

    def noted(self: Engine, batch: Batch) -> None:
        made.append(list(batch.operations))
        write(self, batch)

    monkeypatch.setattr(Engine, "write", noted)
    return made


def test_large_records_are_written_a_few_megabytes_at_a_time(
    writes: list[list[Operation]], tmp_path: Path
) -> None:
    large = 1 << 20
    users = {
        b"u%d" % number: auth_pb2.User(name=b"u%d" % number, password=bytes(large))
        for number in range(9)
    }
    leased = {
        revision_key(300 + number): kv(b"%d" % number + bytes(large), 300, 7) for number in range(9)
    }
    records = sound()
    records[etcd.AUTH_USERS] = {name: user.SerializeToString() for name, user in users.items()}
    records[etcd.KEY] |= leased
    engine = StateMachine(tmp_path).engine
    restore(Database(make(records)), engine)
    sizes = [sum(len(key) + len(value or b"") for _, key, value in each) for each in writes]
    assert sum(sizes) > 18 * large
    assert max(sizes) < WRITE_BYTES + 2 * large
    engine.close()


def test_very_many_records_are_written_some_thousand_at_a_time(
    writes: list[list[Operation]], tmp_path: Path
) -> None:
    records = sound()
    records[etcd.LEASE] |= {
        etcd.lease_key(number): lease_pb2.Lease(ID=number, TTL=60).SerializeToString()
        for number in range(10, 10 + 2 * WRITES)
    }
    engine = StateMachine(tmp_path).engine
    restore(Database(make(records)), engine)
    assert sum(map(len, writes)) > 2 * WRITES
    assert max(map(len, writes)) <= WRITES + 1
    engine.close()


def test_a_bucket_within_a_bucket_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inline = bytes(16) + HEADER.pack(0, LEAF, 0, 0)
    content = bytearray(make({etcd.KEY: {revision_key(2): inline}}))
    # (The only element of its page: 16 bytes before the key, the first of them the kind.)
    element = content.index(revision_key(2)) - 16
    assert content[element : element + 4] == bytes(4)
    content[element] = IS_BUCKET
    assert "holds a bucket" in outcome(bytes(content), tmp_path, capsys)


SOUND = make(sound())
DAMAGES: st.SearchStrategy[Iterable[tuple[int, int]]] = st.lists(
    st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6
)
#: Most bytes of a file are values, in which nothing can be noticed: change the heads of pages too.
HEADS = st.lists(
    st.tuples(
        st.builds(
            lambda page, at: page * PAGE + at,
            st.integers(0, len(SOUND) // PAGE - 1),
            st.integers(0, 63),
        ),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=st.one_of(HEADS, DAMAGES),
    swapped=st.none() | st.tuples(*[st.integers(2, len(SOUND) // PAGE - 1)] * 2),
    cut=st.just(0) | st.integers(0, len(SOUND)),
)
def test_a_damaged_file_is_refused_in_a_line_or_opened_by_a_member(
    changes: Iterable[tuple[int, int]],
    swapped: tuple[int, int] | None,
    cut: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = bytearray(SOUND)
    for at, byte in changes:
        content[at] = byte
    if swapped:
        one, other = (slice(page * PAGE, (page + 1) * PAGE) for page in swapped)
        content[one], content[other] = content[other], content[one]
    with TemporaryDirectory() as directory:
        outcome(bytes(content[: len(content) - cut]), Path(directory), capsys)


@pytest.mark.parametrize("words", ["snapshot restore", "snapshot status", "hashkv"])
def test_what_is_no_file_is_refused_at_once(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    flags = [f"--data-dir={tmp_path / 'data'}"] if words.endswith("restore") else []
    for path in (pipe, tmp_path, Path("/dev/zero")):
        assert main([*words.split(), str(path), *flags]) == 1
        assert capsys.readouterr().err == f"Error: {path} is no file\n"
    assert list(tmp_path.iterdir()) == [pipe]
