"""Makes a member's samples and notes its revisions, every few seconds, as long as it runs."""

import asyncio
import time
from pathlib import Path
from typing import Protocol

from rusd.base.logs import LimitedLog, get_logger
from rusd.console import revision_times
from rusd.console.json_pages import number
from rusd.console.revision_times import RevisionTimes
from rusd.console.samples import INTERVAL, Samples
from rusd.rpc.pages import PageRequest
from rusd.state.interface import WithKeys, WithMembers

log = get_logger(__name__)
unsaved = LimitedLog(log)

#: Seconds between two writes of the file of revision times.
SAVE_EVERY = 60.0


class Machine(WithKeys, WithMembers, Protocol):
    """The part of the state machine in use."""


class Recorder:
    """The records of one member."""

    def __init__(self, machine: Machine, samples: Samples, path: Path) -> None:
        """`path`: of the file of revision times."""
        self._machine = machine
        self._path = path
        self._saving = False
        self.samples = samples
        self.times = RevisionTimes()

    async def run(self) -> None:
        """Record until cancelled."""
        machine = self._machine
        cluster, revision = machine.members.cluster_id, machine.store.revision
        self.times = revision_times.load(self._path, cluster, revision, _now())
        measured = saved = time.monotonic()
        self.times.note(_now(), revision)
        try:
            while True:
                await asyncio.sleep(INTERVAL)
                began = time.monotonic()
                self.samples.add(_now(), began - measured)
                self.times.note(_now(), machine.store.revision)
                measured = began
                if began - saved > SAVE_EVERY:
                    saved = began
                    await self._save()
        finally:
            if not self._saving:
                self._store(self._content())

    async def _save(self) -> None:
        self._saving = True
        await asyncio.to_thread(self._store, self._content())
        self._saving = False

    def _content(self) -> bytes:
        return revision_times.encoded(self.times, self._machine.members.cluster_id)

    def _store(self, content: bytes) -> None:
        try:
            revision_times.store(self._path, content)
        except OSError as error:
            unsaved.warning("revision times were not saved", {"error": str(error)})

    async def find_times(self, request: PageRequest) -> object:
        """See `Find`; `at` (Unix ms) or `revision` asks for one, neither for the bounds."""
        at, revision = number(request, "at"), number(request, "revision")
        store, times = self._machine.store, self.times
        if at is not None:
            found = times.at(at)
            return {
                "revision": _text(found.revision),
                "next_revision": _text(found.next_revision),
                "from": found.begin,
                "to": found.end,
                "oldest": times.oldest,
            }
        if revision is not None:
            made = times.of(revision)
            return {
                "revision": _text(revision),
                "time": None if made.begin is None else made.end,
                "from": made.begin,
                "to": made.end,
                "oldest": times.oldest,
            }
        return {
            "first_revision": _text(max(store.compact_revision, 1)),
            "revision": _text(store.revision),
            "oldest": times.oldest,
            "interval": INTERVAL,
        }


def _now() -> int:
    return int(time.time() * 1000)


def _text(revision: int | None) -> str | None:
    return None if revision is None else str(revision)
