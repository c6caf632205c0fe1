"""Transfer of a snapshot's files: read and framed by the leader, checked and written here.

`SnapshotSender` reads a checkpoint directory (files, no deeper) into frames, with a window of
unacknowledged bytes. `SnapshotReceiver` writes the frames beside the follower's state, checks each
chunk and the whole, and returns the checkpoint once it is durable. A stream that breaks leaves
nothing behind but files that the next start or stream removes.

Durability: each chunk is fdatasynced when it is written; at the end each file, their directory and
its parent are fsynced. What `Received` names is on the disk.

Both block on the disk and run in a thread (`streams.py`, `incoming.py`): no socket and no clock.
"""

import os
import shutil
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from rusd.base import durable
from rusd.raft.transport.frames import Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd

CHUNK_BYTES = 512 << 10
#: Bytes of one stream that were sent and are not acknowledged.
WINDOW_BYTES = 8 << 20
#: Bytes and frames that a sender reads at a time, and that are then sent at a time.
BATCH_BYTES = 2 << 20
BATCH_FRAMES = 256


class Received(NamedTuple):
    """A complete checkpoint, durable in `directory`."""

    directory: Path
    #: The state in it is at this log index or later.
    index: int  # type: ignore[assignment]


class SnapshotError(Exception):
    """A stream that cannot continue; it is dropped and the leader starts another."""


class SnapshotSender:
    """One stream to one member. `acknowledge` may be called while another thread is in `take`."""

    def __init__(self, stream: int, directory: Path, index: int) -> None:
        """`index`: applied index of the checkpoint."""
        self.stream = stream
        self.index = index
        self._directory = directory
        self._chunks = self._read()
        self._sent = 0
        self._acknowledged = 0
        self._ended = False

    def _read(self) -> Generator[Snapshot, None, None]:
        files = sorted(self._directory.iterdir())
        for path in files:
            if not path.is_file():
                raise SnapshotError(f"{path} is not a file; it would be missing on the other side")
        sizes = {path.name: path.stat().st_size for path in files}
        yield SnapshotBegin(self.stream, self.index, sizes)
        for path in files:
            left = sizes[path.name]
            offset = 0
            with path.open("rb") as file:
                while left:
                    data = file.read(min(CHUNK_BYTES, left))
                    if not data:
                        raise SnapshotError(f"{path} became shorter")
                    yield SnapshotChunk(self.stream, path.name, offset, data, zlib.crc32(data))
                    offset += len(data)
                    left -= len(data)
        yield SnapshotEnd(self.stream)

    def take(self) -> list[Snapshot]:
        """Read the next frames, one batch at most. Empty if the window is full, or all files are
        read. Raises SnapshotError or OSError.
        """
        frames: list[Snapshot] = []
        size = 0
        while (
            not self._ended
            and self._sent - self._acknowledged < WINDOW_BYTES
            and size < BATCH_BYTES
            and len(frames) < BATCH_FRAMES
        ):
            frame = next(self._chunks)
            if isinstance(frame, SnapshotChunk):
                self._sent += len(frame.data)
                size += len(frame.data)
            self._ended = isinstance(frame, SnapshotEnd)
            frames.append(frame)
        return frames

    def acknowledge(self, received: int) -> None:
        """Record that the member holds this number of bytes."""
        self._acknowledged = max(self._acknowledged, min(received, self._sent))

    @property
    def complete(self) -> bool:
        """Whether the member holds the whole snapshot."""
        return self._ended and self._acknowledged == self._sent

    def close(self) -> None:
        """Close the open file and remove the checkpoint."""
        self._chunks.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class SnapshotReceiver:
    """Receives one stream at a time; a newer one replaces an older."""

    def __init__(self, directory: Path) -> None:
        """`directory`: for incoming files only, on the state's file system; emptied here."""
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        self._stream: tuple[int, int] | None = None
        self._index = 0
        self._files: dict[str, int] = {}
        self._written: dict[str, int] = {}

    @property
    def received(self) -> int:
        """Bytes of the current stream written so far."""
        return sum(self._written.values())

    def takes(self, member: int, frame: Snapshot) -> bool:
        """Return whether the frame belongs to the current stream."""
        return self._stream == (member, frame.stream)

    def frame(self, member: int, frame: Snapshot) -> Received | None:
        """Handle one frame; returns the checkpoint once it is complete. Raises SnapshotError."""
        if isinstance(frame, SnapshotBegin):
            self._begin((member, frame.stream), frame)
            return None
        if not self.takes(member, frame):
            return None
        if isinstance(frame, SnapshotChunk):
            self._chunk(frame)
            return None
        return self._end()

    def _begin(self, stream: tuple[int, int], frame: SnapshotBegin) -> None:
        self.reset()
        for name in frame.files:
            if not name or name in (".", "..") or "/" in name or "\0" in name:
                self.reset()
                raise SnapshotError(f"bad file name {name!r}")
        self._directory.mkdir(parents=True)
        self._stream, self._index = stream, frame.index
        self._files = dict(frame.files)
        self._written = dict.fromkeys(self._files, 0)
        for name in self._files:
            (self._directory / name).touch()

    def _chunk(self, frame: SnapshotChunk) -> None:
        name, data = frame.file, frame.data
        good = (
            name in self._files
            and frame.offset == self._written[name]
            and frame.offset + len(data) <= self._files[name]
            and frame.crc == zlib.crc32(data)
        )
        if not good:
            self.reset()
            raise SnapshotError(f"bad chunk of {name!r}")
        with (self._directory / name).open("r+b") as file:
            file.seek(frame.offset)
            file.write(data)
            # As it comes: the leader waits less at the end, and a full disk is found early.
            file.flush()
            os.fdatasync(file.fileno())
        self._written[name] += len(data)

    def _end(self) -> Received:
        if self._written != self._files:
            self.reset()
            raise SnapshotError("the stream ended early")
        for name in self._files:
            durable.sync(self._directory / name)
        durable.sync(self._directory)
        durable.sync(self._directory.parent)
        self._stream = None
        return Received(self._directory, self._index)

    def reset(self) -> None:
        """Drop the current stream and its files."""
        self._stream = None
        self._written = {}
        shutil.rmtree(self._directory, ignore_errors=True)
