"""A replicated state that is nothing but the list of payloads applied, durable in one file.

Every apply appends one line with the new positions and the payloads; a line that is not whole is
as if it had never been. So state and positions are one atomic write, as Raft asks.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rusd.raft.ports import Entry, Position, Slices, Unfinished

START = (Position(1, 0), Position(1, 0))


class ToyMachine:
    """Implements `rusd.raft.ports.Machine`. A payload is text; its result says when it came."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.payloads: list[str] = []
        self._last, self._before = START
        #: Numbers of requests in each `apply` call.
        self.groups: list[int] = []
        self.restored = 0
        #: While true, an apply goes on and on in slices.
        self.held = False
        self._open()

    def _open(self) -> None:
        path = self.directory / "log"
        path.touch()
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            last, before, payloads = json.loads(line)
            self._last, self._before = Position(*last), Position(*before)
            self.payloads += payloads
            whole += len(line)
        os.truncate(path, whole)
        self._file = path.open("ab", buffering=0)

    def positions(self) -> tuple[Position, Position]:
        return self._last, self._before

    def apply(self, entries: Sequence[Entry]) -> list[object]:
        results: list[object] = []
        payloads = []
        for entry in entries:
            assert entry.position.index == self._last.index + 1
            self._before, self._last = self._last, entry.position
            for request in entry.requests:
                payloads.append(request.payload.decode())
                place = len(self.payloads) + len(payloads)
                results.append(place if request.wanted else None)
        self.payloads += payloads
        self.groups.append(len(payloads))
        line = json.dumps([self._last, self._before, payloads])
        self._file.write(line.encode() + b"\n")
        return results

    def begin(self, entries: Sequence[Entry]) -> list[object] | Unfinished:
        if not self.held:
            return self.apply(entries)
        return Unfinished(self._slices(entries), entries[0].position.index)

    def _slices(self, entries: Sequence[Entry]) -> Slices:
        """The first entry only, once it is let go."""
        while self.held:
            yield
        return self.apply(entries[:1])

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def checkpoint(self, directory: Path) -> bool:
        directory.mkdir()
        line = json.dumps([self._last, self._before, self.payloads])
        (directory / "log").write_bytes(line.encode() + b"\n")
        return True

    def prepare(self, checkpoint: Path) -> "ToyPrepared":
        return ToyPrepared(self, checkpoint)

    def restore(self, checkpoint: Path) -> None:
        prepared = self.prepare(checkpoint)
        prepared.commit()
        prepared.install()
        prepared.release()

    def close(self) -> None:
        self._file.close()


class ToyPrepared:
    """Implements `rusd.raft.ports.Prepared`."""

    def __init__(self, machine: ToyMachine, checkpoint: Path) -> None:
        self._machine = machine
        self._checkpoint = checkpoint
        last, _, _ = json.loads((checkpoint / "log").read_bytes())
        self.position = Position(*last)

    def commit(self) -> None:
        (self._checkpoint / "log").replace(self._machine.directory / "log")

    def install(self) -> None:
        machine = self._machine
        machine._file.close()
        machine.payloads = []
        machine.restored += 1
        machine._open()

    def discard(self) -> None:
        shutil.rmtree(self._checkpoint)

    release = discard
