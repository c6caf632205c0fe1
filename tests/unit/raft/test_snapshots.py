"""Shipping a checkpoint: whole and checked, or not at all."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from rusd.raft.snapshots import transfer
from rusd.raft.snapshots.transfer import Received, SnapshotError, SnapshotReceiver, SnapshotSender
from rusd.raft.transport.frames import Snapshot, SnapshotBegin

FILES = {
    "CURRENT": b"MANIFEST-1\n",
    "empty": b"",
    "000001.sst": bytes(range(256)) * 8000,
    "000002.sst": b"x" * transfer.CHUNK_BYTES,
}


@pytest.fixture
def sender(tmp_path: Path) -> SnapshotSender:
    directory = tmp_path / "outgoing"
    directory.mkdir()
    for name, data in FILES.items():
        (directory / name).write_bytes(data)
    return SnapshotSender(1, directory, index=40)


@pytest.fixture
def receiver(tmp_path: Path) -> SnapshotReceiver:
    return SnapshotReceiver(tmp_path / "incoming")


def taken(sender: SnapshotSender) -> list[Snapshot]:
    """All frames that may be sent now."""
    frames: list[Snapshot] = []
    while batch := sender.take():
        frames += batch
    return frames


def ship(sender: SnapshotSender, receiver: SnapshotReceiver) -> Received:
    while True:
        for frame in sender.take():
            complete = receiver.frame(9, frame)
            if complete is not None:
                return complete
        sender.acknowledge(receiver.received)


def test_a_checkpoint_arrives_as_it_was(sender: SnapshotSender, receiver: SnapshotReceiver) -> None:
    complete = ship(sender, receiver)
    assert complete.index == 40
    assert {path.name: path.read_bytes() for path in complete.directory.iterdir()} == FILES


def test_no_more_than_a_window_is_under_way(
    sender: SnapshotSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WINDOW_BYTES", transfer.CHUNK_BYTES)
    sent = sum(len(getattr(frame, "data", b"")) for frame in taken(sender))
    assert transfer.CHUNK_BYTES <= sent <= 2 * transfer.CHUNK_BYTES
    assert taken(sender) == []
    sender.acknowledge(sent)
    assert taken(sender)


@pytest.mark.parametrize(
    "change",
    [
        {"data": b"other"},
        {"offset": 5},
        {"file": "unknown"},
        {"crc": 0},
    ],
    ids=str,
)
def test_a_wrong_chunk_ends_the_stream_and_leaves_nothing(
    sender: SnapshotSender, receiver: SnapshotReceiver, tmp_path: Path, change: dict[str, Any]
) -> None:
    begin, chunk, *_ = taken(sender)
    receiver.frame(9, begin)
    with pytest.raises(SnapshotError):
        receiver.frame(9, structs.replace(chunk, **change))
    assert not (tmp_path / "incoming").exists()


def test_a_chunk_that_comes_twice_ends_the_stream(
    sender: SnapshotSender, receiver: SnapshotReceiver
) -> None:
    begin, chunk, *_ = taken(sender)
    receiver.frame(9, begin)
    receiver.frame(9, chunk)
    with pytest.raises(SnapshotError):
        receiver.frame(9, chunk)


def test_a_stream_that_ends_early_gives_no_checkpoint(
    sender: SnapshotSender, receiver: SnapshotReceiver
) -> None:
    begin, *_, end = taken(sender)
    receiver.frame(9, begin)
    with pytest.raises(SnapshotError):
        receiver.frame(9, end)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/x", "a/b", "a\0"])
def test_file_names_stay_inside_the_directory(receiver: SnapshotReceiver, name: str) -> None:
    frame = SnapshotBegin(1, 4, {name: 1})
    with pytest.raises(SnapshotError):
        receiver.frame(9, frame)


def test_a_newer_stream_replaces_the_running_one(
    sender: SnapshotSender, receiver: SnapshotReceiver
) -> None:
    begin, chunk, *_ = taken(sender)
    receiver.frame(9, begin)
    receiver.frame(9, chunk)
    receiver.frame(8, structs.replace(begin, stream=3))
    assert receiver.received == 0
    assert receiver.frame(9, chunk) is None
    assert receiver.received == 0, "frames of the old one are ignored"


def test_what_an_earlier_life_received_is_removed_at_start(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "000009.sst").write_bytes(b"half")
    SnapshotReceiver(tmp_path / "incoming")
    assert not (tmp_path / "incoming").exists()


def test_a_sender_removes_its_checkpoint(sender: SnapshotSender, tmp_path: Path) -> None:
    taken(sender)
    sender.close()
    assert not (tmp_path / "outgoing").exists()


def test_a_file_that_became_shorter_is_noticed(
    sender: SnapshotSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BATCH_FRAMES", 1)
    sender.take()
    (tmp_path / "outgoing" / "000001.sst").write_bytes(b"short")
    with pytest.raises(SnapshotError):
        taken(sender)


def test_a_checkpoint_with_directories_in_it_is_refused(
    sender: SnapshotSender, tmp_path: Path
) -> None:
    """It would arrive without them."""
    (tmp_path / "outgoing" / "deeper").mkdir()
    with pytest.raises(SnapshotError):
        taken(sender)
