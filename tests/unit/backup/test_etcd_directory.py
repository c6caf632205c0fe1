"""Which database and which entries of its log a stopped etcd's directory holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_directory import open_etcd_directory
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind
from tests.support.etcd_wal import entry, field, segments, snapshot, state
from tests.support.memory import traced
from tests.unit.bbolt.files import make

Records = Sequence[tuple[int, bytes]]


def database(path: Path, index: int, term: int) -> None:
    """Write a database that has applied entry `index`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    applied = {etcd.CONSISTENT_INDEX: etcd.number(index), etcd.TERM: etcd.number(term)}
    path.write_bytes(make({etcd.KEY: {}, etcd.META: applied}))


def put(index: int, term: int) -> tuple[int, bytes]:
    request = rpc.PutRequest(key=b"%d" % index, value=b"v").SerializeToString()
    return entry(index, term, field(4, request))


def directory(place: Path, *parts: Records, applied: tuple[int, int]) -> Path:
    """Write a data directory with segments that begin at the entries they begin at."""
    database(place / "member/snap/db", *applied)
    wal = place / "member/wal"
    wal.mkdir()
    for number, (segment, start) in enumerate(zip(segments(*parts), (0, 3, 5), strict=False)):
        (wal / f"{number:016x}-{start:016x}.wal").write_bytes(segment.data)
    return place


def keys(place: Path) -> list[bytes]:
    """Return the keys that the log's requests put."""
    with open_etcd_directory(place) as data:
        found = list(data.proposals())
    assert all(one[0] == Kind.PUT for one in found)
    return [rpc.PutRequest.FromString(one[1:]).key for one in found]


FIRST = [snapshot(0, 0), entry(1, 1, b"\x08\x01", kind=1), put(2, 1), state(1, 2)]
SECOND = [state(1, 2), put(3, 1), put(4, 1), state(1, 3)]


def test_entries_above_the_database_are_applied_also_those_above_the_commit_index(
    tmp_path: Path,
) -> None:
    assert keys(directory(tmp_path / "a", FIRST, SECOND, applied=(2, 1))) == [b"3", b"4"]
    assert keys(directory(tmp_path / "b", FIRST, SECOND, applied=(4, 1))) == []
    assert keys(directory(tmp_path / "c", FIRST, SECOND, applied=(0, 0))) == [b"2", b"3", b"4"]


def test_segments_that_are_not_needed_may_be_gone(tmp_path: Path) -> None:
    place = directory(tmp_path, FIRST, SECOND, applied=(2, 1))
    first, _ = sorted((place / "member/wal").iterdir())
    first.unlink()
    assert keys(place) == [b"3", b"4"]
    database(place / "member/snap/db", 1, 1)
    with pytest.raises(SnapshotError, match="no segment with entry 2"):
        keys(place)


def test_a_state_that_the_leader_sent_is_used_once_the_log_has_it(tmp_path: Path) -> None:
    log = [*FIRST, snapshot(9, 3), state(3, 9), put(10, 3)]
    place = directory(tmp_path / "a", log, applied=(2, 1))
    database(place / "member/snap" / f"{9:016x}.snap.db", 9, 3)
    assert keys(place) == [b"10"]
    place = directory(tmp_path / "b", FIRST, SECOND, applied=(2, 1))
    database(place / "member/snap" / f"{9:016x}.snap.db", 9, 3)
    assert keys(place) == [b"3", b"4"]


def test_a_state_that_the_leader_sent_and_that_is_missing_is_noticed(tmp_path: Path) -> None:
    place = directory(tmp_path, [*FIRST, snapshot(9, 3), state(3, 9)], applied=(2, 1))
    with pytest.raises(SnapshotError, match=r"what is between is missing.*snapshot save"):
        keys(place)


def test_a_log_of_another_time_or_member_is_refused(tmp_path: Path) -> None:
    for name, applied in (("term", (2, 7)), ("ahead", (8, 1))):
        with pytest.raises(SnapshotError, match="not of the same"):
            keys(directory(tmp_path / name, FIRST, SECOND, applied=applied))


@pytest.mark.parametrize("name", ["snap/db", f"wal/{0:016x}-{0:016x}.wal"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_directory_in_the_place_of_a_file_is_refused(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    place = directory(tmp_path, FIRST, applied=(2, 1))
    (place / "member" / name).unlink()
    make(place / "member" / name)
    with pytest.raises(SnapshotError, match=f"{name} is no file"):
        keys(place)


def test_a_sparse_log_takes_no_more_memory_than_what_is_written(tmp_path: Path) -> None:
    place = directory(tmp_path, FIRST, SECOND, applied=(2, 1))
    os.truncate(sorted((place / "member/wal").iterdir())[1], 256 << 20)
    with traced() as peak:
        found = keys(place)
        assert peak() < 16 << 20
    assert found == [b"3", b"4"]


def test_a_database_that_is_locked_is_in_use(tmp_path: Path) -> None:
    place = directory(tmp_path, FIRST, applied=(2, 1))
    with (place / "member/snap/db").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SnapshotError, match="in use"):
            keys(place)
    assert keys(place) == []
