"""The durable log: what was flushed is there after any crash, what is damaged is noticed."""

import errno
import os
import resource
import shutil
import zlib
from pathlib import Path

import pytest

from rusd.base import durable
from rusd.raft.log import records
from rusd.raft.log.journal import Journal, JournalCorrupt, JournalError, JournalLocked, LogEntry

SEGMENT = 4096


def opened(directory: Path) -> Journal:
    return Journal(directory, segment_bytes=SEGMENT)


def entry(index: int, term: int = 1, size: int = 20) -> LogEntry:
    return (b"\x00" + b"%d" % index * size, index, term)


def filled(directory: Path, last: int) -> Journal:
    """A journal with entries 1..last, each of its own flush."""
    journal = opened(directory)
    for index in range(1, last + 1):
        journal.add(*entry(index))
        journal.flush()
    return journal


def contents(journal: Journal) -> list[LogEntry]:
    return list(journal.entries(0, 1 << 60))


def reopened(journal: Journal, directory: Path) -> Journal:
    journal.close()
    return opened(directory)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.wal"))


def seed(directory: Path) -> int:
    return zlib.crc32((directory / "LOCK").read_bytes()[:16])


def used(segment: Path) -> int:
    ends = [
        item.end
        for item in records.read(segment.read_bytes(), None, seed(segment.parent))
        if isinstance(item, records.Record)
    ]
    return ends[-1]


def test_a_fresh_journal_is_empty(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert len(journal) == 0
    assert (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (0, None)
    assert (journal.first_index, journal.last_index) == (0, 0)


def test_flushed_entries_term_and_vote_are_there_again(tmp_path: Path) -> None:
    journal = filled(tmp_path, 5)
    journal.setCurrentTerm(7, "b")
    journal.flush()
    again = reopened(journal, tmp_path)
    assert contents(again) == [entry(index) for index in range(1, 6)]
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (7, "b")
    assert again.durable_index == 5


def test_a_new_term_forgets_the_vote(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.setCurrentTerm(7, "b")
    journal.setCurrentTerm(8, None)
    journal.flush()
    again = reopened(journal, tmp_path)
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (8, None)


def test_what_was_not_flushed_is_gone(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    journal.add(*entry(4))
    journal.setCurrentTerm(9, "x")
    assert journal.dirty and journal.durable_index == 3
    again = reopened(journal, tmp_path)
    assert again.last_index == 3
    assert again.getCurrentTerm() == 0


def test_a_flush_is_one_write_and_one_fdatasync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path, 1)
    calls: list[str] = []
    pwrite, fdatasync = os.pwrite, os.fdatasync

    def counted_write(handle: int, data: bytes, offset: int) -> int:
        calls.append("write")
        return pwrite(handle, data, offset)

    def counted_sync(handle: int) -> None:
        calls.append("sync")
        fdatasync(handle)

    monkeypatch.setattr(os, "pwrite", counted_write)
    monkeypatch.setattr(os, "fdatasync", counted_sync)
    journal.setCurrentTerm(2, "a")
    journal.deleteEntriesFrom(0)
    journal.add(*entry(1, 2))
    journal.add(*entry(2, 2))
    assert journal.flush()
    assert calls == ["write", "sync"]
    assert not journal.flush(), "nothing to do"
    assert calls == ["write", "sync"]


def test_a_truncated_tail_stays_truncated(tmp_path: Path) -> None:
    journal = filled(tmp_path, 9)
    journal.deleteEntriesFrom(4)
    journal.add(*entry(5, 2))
    journal.flush()
    again = reopened(journal, tmp_path)
    assert contents(again) == [*(entry(index) for index in range(1, 5)), entry(5, 2)]


def test_entries_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    with pytest.raises(JournalError):
        journal.add(*entry(5))


def test_the_last_write_may_end_at_any_byte(tmp_path: Path) -> None:
    """A torn write: whole records before it count, the rest never was."""
    journal = filled(tmp_path / "whole", 6)
    journal.setCurrentTerm(3, "voted")
    journal.flush()
    journal.close()
    (segment,) = segments(tmp_path / "whole")
    data = segment.read_bytes()[: used(segment)]
    seen = set()
    for length in range(len(data) + 1):
        home = tmp_path / f"cut-{length}"
        home.mkdir()
        # (Without the mark, which is set behind the first flush.)
        (home / "LOCK").write_bytes((segment.parent / "LOCK").read_bytes()[:16])
        (home / segment.name).write_bytes(data[:length].ljust(SEGMENT, b"\0"))
        cut = opened(home)
        count = cut.last_index
        assert contents(cut) == [entry(index) for index in range(1, count + 1)]
        cut.add(*entry(count + 1, 4))
        cut.flush()
        again = reopened(cut, home)
        assert contents(again)[-1] == entry(count + 1, 4)
        seen.add(count)
        again.close()
        shutil.rmtree(home)
    assert seen == set(range(7))


def test_a_segment_shorter_than_the_space_reserved_for_it_is_refused(tmp_path: Path) -> None:
    """Its space is durable before anything is written to it: something cut it off."""
    journal = filled(tmp_path, 6)
    journal.close()
    (segment,) = segments(tmp_path)
    for length in (used(segment), used(segment) - 10, 1):
        os.truncate(segment, length)
        with pytest.raises(JournalCorrupt, match=f"{segment.name} was truncated"):
            opened(tmp_path)


def test_a_segment_that_was_begun_but_not_reserved_is_no_damage(tmp_path: Path) -> None:
    journal = filled(tmp_path, 6)
    journal.close()
    (segment,) = segments(tmp_path)
    (tmp_path / "0000000000000002.wal").write_bytes(b"")
    again = opened(tmp_path)
    assert again.last_index == 6
    again.add(*entry(7))
    again.flush()
    assert contents(reopened(again, tmp_path))[-1] == entry(7)
    assert segment.exists()


def test_a_damaged_byte_never_gives_wrong_entries(tmp_path: Path) -> None:
    """Damage in durable records is reported; in the last flush it looks like a torn write."""
    journal = filled(tmp_path / "whole", 4)
    journal.close()
    (segment,) = segments(tmp_path / "whole")
    data = segment.read_bytes()
    size = used(segment)
    outcomes = set()
    for place in range(size):
        home = tmp_path / f"bit-{place}"
        home.mkdir()
        broken = bytearray(data)
        broken[place] ^= 0x10
        (home / "LOCK").write_bytes((segment.parent / "LOCK").read_bytes())
        (home / segment.name).write_bytes(broken)
        try:
            damaged = opened(home)
        except JournalCorrupt as error:
            assert segment.name in str(error)
            outcomes.add("refused")
        else:
            assert contents(damaged) == [entry(index) for index in range(1, 4)]
            outcomes.add("torn")
            damaged.close()
        shutil.rmtree(home)
    assert outcomes == {"refused", "torn"}


def test_damage_before_the_last_segment_is_refused(tmp_path: Path) -> None:
    journal = filled(tmp_path, 120)
    journal.close()
    first, *others = segments(tmp_path)
    assert len(others) > 1
    with first.open("r+b") as file:
        file.seek(used(first) - 3)
        file.write(b"\xff\xff\xff")
    with pytest.raises(JournalCorrupt, match=first.name):
        opened(tmp_path)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    journal = filled(tmp_path, 200)
    journal.close()
    missing = segments(tmp_path)[1]
    missing.unlink()
    for _ in range(2):  # not "in use" the second time
        with pytest.raises(JournalCorrupt, match=missing.name):
            opened(tmp_path)


def test_a_missing_first_segment_is_refused(tmp_path: Path) -> None:
    journal = filled(tmp_path, 200)
    journal.close()
    segments(tmp_path)[0].unlink()
    with pytest.raises(JournalCorrupt, match="missing"):
        opened(tmp_path)


@pytest.mark.parametrize("number", [0, 1])
def test_a_segment_that_lost_its_last_flush_is_refused(tmp_path: Path, number: int) -> None:
    """All records left are whole and only a term is gone: the gap in the flushes tells."""
    journal = opened(tmp_path)
    term = 0
    while len(segments(tmp_path)) < 3:
        term += 1
        journal.setCurrentTerm(term, "voted")
        journal.flush()
    journal.setCurrentTerm(term + 1, None)
    journal.flush()
    journal.close()
    segment = segments(tmp_path)[number]
    end = used(segment)
    *_, last = (one for one in records.read(segment.read_bytes(), None, seed(segment.parent)))
    with segment.open("r+b") as file:
        file.seek(last.offset)
        file.write(bytes(end - last.offset))
    with pytest.raises(JournalCorrupt):
        opened(tmp_path)


def test_an_emptied_only_segment_is_refused_where_others_went_before(tmp_path: Path) -> None:
    """They were removed when this one held what had to be kept."""
    journal = filled(tmp_path, 200)
    journal.compact(200)
    journal.close()
    last, *others = segments(tmp_path)
    assert not others
    last.write_bytes(bytes(SEGMENT))
    with pytest.raises(JournalCorrupt, match=last.name):
        opened(tmp_path)


@pytest.mark.parametrize("length", [0, SEGMENT])
def test_an_emptied_last_segment_is_refused(tmp_path: Path, length: int) -> None:
    """It looks like one that was only just begun, but held a vote."""
    journal = opened(tmp_path)
    while len(segments(tmp_path)) < 3:
        journal.setCurrentTerm(journal.getCurrentTerm() + 1, "a")
        journal.flush()
    journal.setCurrentTerm(journal.getCurrentTerm() + 1, "b")
    journal.flush()
    journal.close()
    last = segments(tmp_path)[-1]
    last.write_bytes(bytes(length))
    with pytest.raises(JournalCorrupt, match=f"{last.name} is empty"):
        opened(tmp_path)
    last.unlink()
    with pytest.raises(JournalCorrupt, match=f"{last.name} is missing"):
        opened(tmp_path)


def test_an_emptied_only_segment_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.setCurrentTerm(1, "a")
    journal.flush()
    journal.close()
    (only,) = segments(tmp_path)
    only.write_bytes(bytes(SEGMENT))
    with pytest.raises(JournalCorrupt, match=f"{only.name} is empty"):
        opened(tmp_path)


@pytest.mark.parametrize("mark", [b"", bytes(12), b"\xff" * 12])
def test_a_journal_without_a_mark_is_taken_as_it_is_and_gets_one(
    tmp_path: Path, mark: bytes
) -> None:
    """Of an earlier release, or with a mark that a crash tore."""
    filled(tmp_path, 6).close()
    lock = (tmp_path / "LOCK").read_bytes()
    begun = tmp_path / "0000000000000002.wal"
    (tmp_path / "LOCK").write_bytes(lock[: 4096 if mark else 16] + mark)
    begun.write_bytes(bytes(SEGMENT))
    again = opened(tmp_path)
    assert contents(again) == [entry(index) for index in range(1, 7)]
    again.add(*entry(7))
    again.flush()
    again.close()
    begun.write_bytes(bytes(SEGMENT))
    with pytest.raises(JournalCorrupt, match=f"{begun.name} is empty"):
        opened(tmp_path)


def test_a_journal_that_an_earlier_release_wrote_on_in_between_is_whole(tmp_path: Path) -> None:
    """It leaves the mark where it was, and removes the segment that the mark names."""
    filled(tmp_path, 40).close()
    lock = (tmp_path / "LOCK").read_bytes()
    journal = opened(tmp_path)
    marked = journal._segments.marked
    for index in range(41, 200):
        journal.add(*entry(index))
        journal.flush()
    journal.compact(198)
    assert marked < journal._segments.numbers[0]
    journal.close()
    (tmp_path / "LOCK").write_bytes(lock)
    again = opened(tmp_path)
    assert again.last_index == 199
    again.add(*entry(200))
    again.flush()
    assert again._segments.marked == again._segments.numbers[-1]
    again.close()


def test_a_kind_of_record_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    journal.close()
    (segment,) = segments(tmp_path)
    offset = used(segment)
    with segment.open("r+b") as file:
        file.seek(offset)
        file.write(b"".join(records.encode(99, 4, True, seed(tmp_path), b"what is this")))  # type: ignore[arg-type]
    with pytest.raises(JournalCorrupt, match=rf"{segment.name} at offset {offset}.*99"):
        opened(tmp_path)


def test_a_value_that_looks_like_a_record_does_not_make_a_torn_write_look_like_damage(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    journal.add(b"kept", 1, 1)
    journal.flush()
    (segment,) = segments(tmp_path)
    whole = used(segment)
    forged = b"".join(records.encode(records.Kind.ENTRY, 99, True, 0, b"forged"))
    journal.add(b"x" * 50 + forged, 2, 1)
    journal.flush()
    journal.close()
    with segment.open("r+b") as file:
        file.seek(whole)
        file.write(bytes(30))  # the beginning of the last write never reached the disk
    again = opened(tmp_path)
    assert again.last_index == 1
    again.close()


def test_a_journal_that_lost_its_seed_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    seed = (tmp_path / "LOCK").read_bytes()
    for damaged in (b"", seed[:15], bytes([seed[0] ^ 1]) + seed[1:]):
        (tmp_path / "LOCK").write_bytes(damaged)
        with pytest.raises(JournalCorrupt, match="LOCK"):
            opened(tmp_path)


def test_a_refused_directory_is_not_left_locked(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    journal.close()
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(b"rust" + whole[4:])
    for _ in range(2):
        with pytest.raises(JournalCorrupt, match="damaged at offset 0"):
            opened(tmp_path)
    segment.write_bytes(whole)
    assert opened(tmp_path).last_index == 3


def test_the_directories_above_a_new_journal_are_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could take the whole log away, name and all."""
    synced: set[tuple[int, int]] = set()
    fsync = os.fsync

    def noted(handle: int) -> None:
        status = os.fstat(handle)
        synced.add((status.st_dev, status.st_ino))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    opened(tmp_path / "member" / "wal").close()
    for directory in (tmp_path, tmp_path / "member", tmp_path / "member" / "wal"):
        status = directory.stat()
        assert (status.st_dev, status.st_ino) in synced


def test_compaction_keeps_the_tail_the_term_and_the_vote(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.setCurrentTerm(5, "voted")
    journal.flush()
    for index in range(1, 201):
        journal.add(*entry(index))
        journal.flush()
    before = len(segments(tmp_path))
    journal.compact(190)
    assert contents(journal) == [entry(index) for index in range(190, 201)]
    assert len(segments(tmp_path)) < before / 2
    again = reopened(journal, tmp_path)
    assert contents(again) == [entry(index) for index in range(190, 201)]
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (5, "voted")
    assert again.term_at(189) is None and again.term_at(190) == 1


def test_compaction_keeps_two_entries(tmp_path: Path) -> None:
    journal = filled(tmp_path, 10)
    journal.compact(1000)
    assert contents(journal) == [entry(9), entry(10)]


def test_a_crash_before_old_segments_were_removed_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path, 200)
    monkeypatch.setattr(Journal, "_remove_segments", lambda self: None)
    journal.compact(150)
    again = reopened(journal, tmp_path)
    assert contents(again) == [entry(index) for index in range(150, 201)]


def test_a_crash_between_two_removals_does_no_harm(tmp_path: Path) -> None:
    journal = filled(tmp_path, 200)
    count = len(segments(tmp_path))
    monkey = Journal._remove_segments
    try:
        Journal._remove_segments = lambda self: None  # type: ignore[method-assign]
        journal.compact(199)
    finally:
        Journal._remove_segments = monkey  # type: ignore[method-assign]
    journal.close()
    for removed in range(count - 2):
        segments(tmp_path)[0].unlink()
        journal = opened(tmp_path)
        assert contents(journal)[-2:] == [entry(199), entry(200)], removed
        journal.close()


def test_a_seated_log_holds_only_the_states_positions(tmp_path: Path) -> None:
    journal = filled(tmp_path, 200)
    journal.setCurrentTerm(9, "voted")
    journal.reset_to((b"\x01", 999, 7), (b"\x01", 1000, 8))
    journal.settle()
    again = reopened(journal, tmp_path)
    assert contents(again) == [(b"\x01", 999, 7), (b"\x01", 1000, 8)]
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (9, "voted")
    again.add(*entry(1001, 9))
    again.flush()
    assert reopened(again, tmp_path).last_index == 1001


def test_a_failing_fdatasync_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path, 2)

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "fdatasync", fail)
    journal.add(*entry(3))
    with pytest.raises(OSError, match="disk"):
        journal.flush()
    assert journal.durable_index == 2
    monkeypatch.undo()
    with pytest.raises(JournalError, match="failed"):
        journal.flush()  # the kernel may have forgotten what it could not write


def test_a_disk_that_is_full_when_a_segment_is_begun_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)

    def fail(handle: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    index = 0
    with pytest.raises(OSError, match="full"):
        while index < 1000:
            index += 1
            journal.add(*entry(index))
            journal.flush()
    monkeypatch.undo()
    again = reopened(journal, tmp_path)
    assert contents(again) == [entry(each) for each in range(1, index + 1)]
    again.add(*entry(index + 1))
    again.flush()
    assert reopened(again, tmp_path).last_index == index + 1


def test_a_directory_has_one_user(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalLocked):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_slices_are_what_pysyncobj_needs(tmp_path: Path) -> None:
    journal = filled(tmp_path, 10)
    assert journal[0] == entry(1) and journal[-1] == entry(10)
    assert journal[3:] == [entry(index) for index in range(4, 11)]
    assert journal[3:5] == [entry(4), entry(5)]
    assert journal[50:] == []
    journal.shield = True
    assert journal[3:] == [entry(4)], "nothing seems to be there to truncate"


def test_an_open_slice_is_bounded_but_shows_that_more_follows(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for index in range(1, 12):
        journal.add(b"\x00" + bytes(1 << 20), index, 1)
    assert len(journal[0:]) == 4
    journal.add(b"\x00" + bytes(9 << 20), 12, 1)
    journal.add(b"\x00", 13, 1)
    assert [one[1] for one in journal[11:]] == [12, 13]  # type: ignore[index]


def test_the_size_of_the_log_follows_its_entries(tmp_path: Path) -> None:
    journal = filled(tmp_path, 10)
    assert journal.size == sum(len(entry(index)[0]) for index in range(1, 11))
    kept = len(entry(9)[0]) + len(entry(10)[0])
    assert journal.index_keeping(kept) == 9
    assert journal.index_keeping(1 << 30) == 1
    journal.deleteEntriesFrom(5)
    assert journal.size == sum(len(entry(index)[0]) for index in range(1, 6))
    journal.clear()
    assert journal.size == 0


def test_a_new_journal_fsyncs_the_directories_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state beside the journal is opened first, and with it the member's directory is made."""
    synced: list[tuple[Path, int]] = []
    directory = tmp_path / "data" / "member" / "wal"
    directory.mkdir(parents=True)
    sync = durable.sync

    def note(one: Path) -> None:
        sync(one)
        synced.append((one, len(segments(directory))))

    monkeypatch.setattr(durable, "sync", note)
    opened(directory).close()
    before_the_first_segment = [one for one, count in synced if count == 0]
    assert {directory.parent, directory.parent.parent, tmp_path} <= set(before_the_first_segment)


def test_a_directory_above_that_may_not_be_read_does_not_keep_a_journal_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = durable.sync

    def refuse(one: Path) -> None:
        if one == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(one))
        sync(one)

    monkeypatch.setattr(durable, "sync", refuse)
    journal = filled(tmp_path / "member" / "wal", 2)
    assert journal.durable_index == 2


def test_the_next_segment_is_opened_when_no_file_descriptor_is_left(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.add(*entry(1, size=SEGMENT))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    # Above what this process has open, the journal's own among them: closing one makes room.
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        journal.flush()
        journal.add(*entry(2))
        journal.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in taken:
            os.close(one)
    assert len(list(tmp_path.glob("*.wal"))) == 2
    assert contents(reopened(journal, tmp_path)) == [entry(1, size=SEGMENT), entry(2)]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_the_last_written_byte_of_a_segment_is_found_wherever_it_lies(size: int) -> None:
    for at in {place for place in (0, 1, 65535, 65536, 131_072, size - 1) if 0 <= place < size}:
        data = bytearray(size)
        data[at] = 1
        assert records.written(bytes(data)) == at + 1 == len(bytes(data).rstrip(b"\0"))
    assert records.written(bytes(size)) == 0
