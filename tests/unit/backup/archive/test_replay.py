"""Which backup and which requests a restore from the archive uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rusd.auth.records import identity_of
from rusd.backup.archive.names import Segment, fingerprint, named
from rusd.backup.archive.replay import APPLIED_IN, Source, older_and_further, sources
from rusd.backup.archive.segment import pieces
from rusd.backup.errors import SnapshotError
from rusd.backup.scheduled import Names
from rusd.raft.commands import NO_OP, encode_conf_change, encode_entry
from rusd.raft.ports import LogEntry, Position
from rusd.state.command import Kind, LeaseExpiry, Login, encode, sign

CLUSTER = 0xC
NAMES = Names(CLUSTER, 1)
BACKUP = NAMES.backup(1_800_000_000, 5).name
PUT = encode(Kind.PUT, b"put")


def segment(
    directory: Path, entries: list[LogEntry], base: int = 4, backup: str = BACKUP
) -> Segment:
    made = named(backup, base, entries[0][1], entries[-1][1], fingerprint(entries[-1]))
    (directory / made.name).write_bytes(b"".join(pieces(backup, entries)))
    return made


def entry(index: int, *payloads: bytes, term: int = 2) -> LogEntry:
    requests = [(1, 100 * index + n, payload) for n, payload in enumerate(payloads)]
    return encode_entry(requests), index, term


def test_requests_are_applied_in_order_but_those_on_the_cluster_that_was(tmp_path: Path) -> None:
    signed = sign(identity_of("u", 3), PUT)
    entries = [
        (NO_OP, 5, 2),
        entry(6, PUT, encode(Kind.CLUSTER_VERSION, b"3.7.0"), signed),
        (encode_conf_change((1, 1, encode(Kind.MEMBER_ADD, b"member"))), 7, 2),
        entry(
            8,
            sign(identity_of("u", 3), encode(Kind.AUTHENTICATE, Login("u", "").encode())),
            encode(Kind.LEASE_EXPIRE, LeaseExpiry(2, 77).encode()),
            encode(Kind.LEASE_EXPIRE, LeaseExpiry(1, 78).encode()),
        ),
        entry(9, encode(Kind.DELETE_RANGE, b"last")),
    ]
    source = Source(tmp_path / BACKUP, [segment(tmp_path, entries)])
    assert list(source.proposals(Position(4, 2))) == [
        PUT,
        signed,
        encode(Kind.LEASE_EXPIRE, LeaseExpiry(APPLIED_IN, 77).encode()),
        encode(Kind.DELETE_RANGE, b"last"),
    ]
    assert list(source.proposals(Position(8, 2))) == [encode(Kind.DELETE_RANGE, b"last")]


def test_a_missing_segment_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    parts = [segment(tmp_path, [entry(n, PUT) for n in span]) for span in ((5, 6), (7, 8), (9,))]
    assert len(list(Source(tmp_path / BACKUP, parts).proposals(Position(4, 2)))) == 5
    with pytest.raises(SnapshotError, match="a gap: no entries 7 to 8"):
        list(Source(tmp_path / BACKUP, [parts[0], parts[2]]).proposals(Position(4, 2)))
    path = tmp_path / parts[1].name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SnapshotError, match=f"{parts[1].name}: its SHA-256 differs"):
        list(Source(tmp_path / BACKUP, parts).proposals(Position(4, 2)))
    path.write_bytes(b"")
    with pytest.raises(SnapshotError, match="empty"):
        list(Source(tmp_path / BACKUP, parts).proposals(Position(4, 2)))


def test_a_file_that_holds_other_entries_than_its_name_says_is_refused(tmp_path: Path) -> None:
    made = segment(tmp_path, [entry(5, PUT), entry(6, PUT)])
    for first, last in ((5, 7), (6, 7)):
        other = named(BACKUP, 4, first, last, made.fingerprint)
        (tmp_path / made.name).rename(tmp_path / other.name)
        with pytest.raises(SnapshotError, match=r"ends with entry 6|entry 5 in the place"):
            list(Source(tmp_path / BACKUP, [other]).proposals(Position(4, 2)))
        (tmp_path / other.name).rename(tmp_path / made.name)


def test_segments_of_a_log_that_went_on_otherwise_are_left_out_at_the_second_attempt(
    tmp_path: Path,
) -> None:
    """As a forced new cluster leaves it, on a member that lacked the last entries."""
    newer = NAMES.backup(1_800_000_900, 9).name
    for name in (BACKUP, newer):
        (tmp_path / name).touch()
    log = [entry(index, PUT) for index in range(5, 20)]
    segment(tmp_path, log)
    segment(tmp_path, log[:1], 9, newer)
    segment(tmp_path, [entry(10, PUT, term=3)], 9, newer)
    both, alone = sources(tmp_path, 0)
    with pytest.raises(SnapshotError, match=r"another log|below term"):
        list(both.proposals(Position(9, 3)))
    assert len(list(alone.proposals(Position(9, 3)))) == 1


@pytest.mark.parametrize("same", [True, False])
def test_what_was_archived_while_a_backup_was_made_follows_it_if_it_is_of_the_same_log(
    same: bool, tmp_path: Path
) -> None:
    newer = NAMES.backup(1_800_000_900, 9).name
    for name in (BACKUP, newer):
        (tmp_path / name).touch()
    log = [entry(index, encode(Kind.PUT, b"%d" % index)) for index in range(5, 14)]
    for first, last in ((5, 7), (8, 10), (11, 13)):
        segment(tmp_path, log[first - 5 : last - 4])
    held = log[8 - 5] if same else entry(8, encode(Kind.PUT, b"of a restored cluster"))
    segment(tmp_path, [held], 9, newer)
    segment(tmp_path, log[10 - 5 : 12 - 5], 9, newer)
    source = sources(tmp_path, 0)[0]
    assert source.backup.name == newer
    last = 13 if same else 11
    puts = [encode(Kind.PUT, b"%d" % index) for index in range(10, last + 1)]
    assert list(source.proposals(Position(9, 2))) == puts
    # Any of them may be begun with: a damaged one is no loss.
    source = sources(tmp_path, 0, first=BACKUP)[0]
    assert len(list(source.proposals(Position(4, 2)))) == 9
    if same:
        # (Without a gap alone.)
        (gone,) = tmp_path.glob("*-11-13-*.log")
        gone.unlink()
        segment(tmp_path, log[13 - 5 :])
        (source,) = sources(tmp_path, 0)
        assert list(source.proposals(Position(9, 2))) == puts[:2]


def test_the_newest_backup_below_is_the_first_choice_and_the_one_behind_it_the_second(
    tmp_path: Path,
) -> None:
    for time, revision in ((100, 10), (200, 90), (300, 40), (400, 60)):
        (tmp_path / NAMES.backup(time, revision).name).touch()

    def chosen(revision: int) -> list[int]:
        parsed = (NAMES.parse(each.backup.name) for each in sources(tmp_path, revision))
        return [each.revision for each in parsed if each is not None]

    # (Restored to 40 at time 300, so 90 is of another history.)
    assert chosen(50) == [40, 60]
    assert chosen(40) == [40, 60]
    assert chosen(95) == [60]
    assert chosen(5) == [10]
    assert chosen(0) == [60]
    (newest,) = sources(tmp_path, 0)
    assert older_and_further(tmp_path, newest, 89) == NAMES.backup(200, 90).name
    (named,) = sources(tmp_path, 0, first=NAMES.backup(200, 90).name)
    assert named.backup.name == NAMES.backup(200, 90).name
    assert older_and_further(tmp_path, newest, 90) is None
    assert older_and_further(tmp_path, named, 0) is None
    with pytest.raises(SnapshotError, match="has no backup other"):
        sources(tmp_path, 0, first="other")


def test_files_of_several_clusters_need_a_choice(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="has no backup"):
        sources(tmp_path, 0)
    for cluster in (CLUSTER, 0xD):
        (tmp_path / Names(cluster, 1).backup(100, 10).name).touch()
    with pytest.raises(SnapshotError, match="--cluster-id of c, d"):
        sources(tmp_path, 0)
    assert len(sources(tmp_path, 0, 0xD)) == 1
