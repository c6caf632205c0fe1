"""One apply: committed entries become one storage write, results and notifications.

The write carries the position of the last entry, so a replay after a crash neither repeats nor
skips an entry. A long apply continues in slices: rows of the uncommitted revisions may be written
between slices (`rusd/mvcc/uncommitted.py`), everything visible is written by the commit.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from types import GeneratorType

from rusd.base.errors import Refusal
from rusd.mvcc.overlay import Events
from rusd.mvcc.store import Store
from rusd.raft.ports import Entry, Request, Slices, Unfinished
from rusd.state import positions as records
from rusd.state.commands import Commands, finished
from rusd.state.context import ApplyContext, Work
from rusd.state.listeners import Listeners
from rusd.state.positions import Positions
from rusd.state.result import Applied

#: Writes in one batch above which no further entry is added to it; within an entry, the writes
#: between two yields.
MAX_APPLY_WRITES = 6000
#: Likewise, KeyValues that were read for them: each costs as much as several writes.
MAX_APPLY_READS = 300
#: Revisions, and events, that are published in one slice.
EVENTS_PER_SLICE = 500


class EntryApply:
    """An apply from its first entry to its commit."""

    def __init__(
        self,
        store: Store,
        commands: Commands,
        positions: Positions,
        context: ApplyContext,
        listeners: Listeners,
    ) -> None:
        self._commands = commands
        self._positions = positions
        self._context = context
        self._listeners = listeners
        self._writer = store.begin()
        self._applied, self._before = positions.applied, positions.before
        self._results: list[object] = []
        self._slices: Slices | None = None
        #: True once the last slice has ended.
        self.done = False

    def run(self, entries: Sequence[Entry]) -> list[object] | Unfinished:
        """Apply `entries`, or the first of them with the rest of a long one left in slices.

        Returns one result per request. Raises RuntimeError if an entry does not follow its
        predecessor.
        """
        writer, results, context = self._writer, self._results, self._context
        apply, writes = self._commands.apply, writer.batch.operations
        for position, requests in entries:
            applied = self._applied
            if position.index <= applied.index:
                results.extend([None] * len(requests))
                continue
            if position.index != applied.index + 1 or position.term < applied.term:
                raise RuntimeError(f"entry {position} does not follow {applied}")
            context.term, context.index = position.term, position.index
            self._before, self._applied = applied, position
            for count, (payload, wanted) in enumerate(requests, 1):
                result = apply(writer, payload, wanted)
                if (
                    type(result) is GeneratorType
                    or len(writes) > MAX_APPLY_WRITES
                    or writer.reads > MAX_APPLY_READS
                ):
                    self._slices = self._rest(result, wanted, islice(requests, count, None))
                    return Unfinished(self._slices, position.index)
                results.append(result if wanted else None)
        if self._applied is not self._positions.applied:
            self._commit()
            context.notify(self._listeners)
            if writer.events:
                self._listeners.events(writer.events)
        return results

    def close(self) -> None:
        """Abort uncommitted work. Also releases a writer whose slices never started."""
        if self._slices is not None:
            self._slices.close()
        self._writer.close()
        self._context.discard()

    def _rest(
        self, result: Applied | Refusal | Work, wanted: bool, requests: Iterator[Request]
    ) -> Slices:
        """Apply the rest of an entry: the request with the unfinished `result`, then `requests`."""
        writer = self._writer
        #: Length of the batch, and what was read, at the last yield.
        yielded = read = 0
        try:
            while True:
                if isinstance(result, GeneratorType):
                    result = yield from finished(result)
                    # Its slices may have spilled the batch, so an older length says nothing.
                    yielded, read = len(writer.batch), writer.reads
                self._results.append(result if wanted else None)
                written, fetched = len(writer.batch) - yielded, writer.reads - read
                if written > MAX_APPLY_WRITES or fetched > MAX_APPLY_READS:
                    writer.spill()
                    yielded, read = len(writer.batch), writer.reads
                    yield
                request = next(requests, None)
                if request is None:
                    break
                wanted = request.wanted
                result = self._commands.apply(writer, request.payload, wanted)
            yield
            self._commit()
            yield
            self._context.notify(self._listeners)
            yield from self._publish(writer.events)
            self.done = True
            return self._results
        finally:
            writer.close()

    def _commit(self) -> None:
        records.store(self._writer.batch, self._applied, self._before)
        self._writer.commit()
        self._positions.applied, self._positions.before = self._applied, self._before

    def _publish(self, batches: list[tuple[int, Events]]) -> Generator[None, None, None]:
        """Publish the events in slices of whole revisions."""
        part: list[tuple[int, Events]] = []
        size = 0
        for batch in batches:
            part.append(batch)
            size += len(batch[1])
            if size >= EVENTS_PER_SLICE:
                self._listeners.events(part)
                part, size = [], 0
                yield
        if part:
            self._listeners.events(part)
