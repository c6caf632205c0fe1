"""Shipping a checkpoint to a member whose next entry is no longer in the log.

The leader's sender reads a checkpoint directory (files, no deeper) and offers frames with a window
of unacknowledged bytes; the follower's receiver writes them beside its state, checks every chunk
and the whole, makes it durable and only then gives it out for installation. A stream that breaks
leaves nothing behind but files that the next start or stream removes.

No socket and no clock here, but files.
"""

import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rusd.base import durable
from rusd.raft.transport.frames import Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd

CHUNK_BYTES = 512 << 10
WINDOW_BYTES = 8 << 20


class Received(NamedTuple):
    """A complete checkpoint, durable in `directory`."""

    directory: Path
    #: The state in it is at this log index or later.
    index: int  # type: ignore[assignment]


class SnapshotError(Exception):
    """A stream that cannot go on; it is dropped and the leader starts another."""


class SnapshotSender:
    """One stream to one member; owns (and finally removes) the checkpoint directory."""

    def __init__(self, stream: int, directory: Path, index: int) -> None:
        """`index`: applied index when the checkpoint was begun."""
        self.stream = stream
        self.index = index
        self._directory = directory
        self._chunks = self._read()
        self._sent = 0
        self._acknowledged = 0
        self._ended = False

    def _read(self) -> Iterator[Snapshot]:
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

    def frames(self) -> Iterator[Snapshot]:
        """What may be sent now without leaving the window."""
        while not self._ended and self._sent - self._acknowledged < WINDOW_BYTES:
            frame = next(self._chunks)
            if isinstance(frame, SnapshotChunk):
                self._sent += len(frame.data)
            self._ended = isinstance(frame, SnapshotEnd)
            yield frame

    def acknowledge(self, received: int) -> None:
        """The member holds so many bytes."""
        self._acknowledged = max(self._acknowledged, min(received, self._sent))

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]
        shutil.rmtree(self._directory, ignore_errors=True)


class SnapshotReceiver:
    """What this member is being sent; one stream at a time, a newer one replaces an older."""

    def __init__(self, directory: Path) -> None:
        """`directory`: a place of its own on the state's file system; emptied here."""
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        self._stream: tuple[int, int] | None = None
        self._index = 0
        self._files: dict[str, int] = {}
        self._written: dict[str, int] = {}

    @property
    def received(self) -> int:
        """Bytes written of the running stream."""
        return sum(self._written.values())

    def takes(self, member: int, frame: Snapshot) -> bool:
        """True if the frame is of the running stream, not of one that was given up."""
        return self._stream == (member, frame.stream)

    def frame(self, member: int, frame: Snapshot) -> Received | None:
        """Take one frame; the checkpoint once it is complete. Raises SnapshotError."""
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
            # Bit by bit: one fsync of everything at the end would hold up the loop.
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
        """Forget the running stream and its files."""
        self._stream = None
        self._written = {}
        shutil.rmtree(self._directory, ignore_errors=True)
