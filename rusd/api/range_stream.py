"""etcdserverpb.KV/RangeStream: one range, read and sent in chunks of bounded size.

All chunks are read at one revision and sent as fast as the client reads. The first holds few keys,
so that the client receives data early; the size then adapts to that of the keys. Only the last
chunk carries header, `more` and `count`.

A sort target other than the key (without a sort order; others are refused) sorts each chunk within
itself, which in a stream of one chunk is etcd's order. In a longer stream etcd 3.7 continues behind
the last key of a sorted chunk, so it repeats some keys and omits others; here every key is sent
once, and the chunks follow each other in key order.

While the client keeps up, one cursor reads the store. If the client does not, the cursor is
dropped, so that it does not keep old data on disk; reading continues from the next key at the same
revision, or ends with COMPACTED if that is compacted by then.
"""

import sys
import time
from collections.abc import Callable
from itertools import accumulate

from rusd.api.stream_task import StreamTask
from rusd.base import sliced
from rusd.base.sliced import rest
from rusd.mvcc.interval import bounds
from rusd.mvcc.ports import Rows
from rusd.mvcc.range_query import DECODED_SLICE, RangeResult, sort, without_value
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.interface import ReadIndex
from rusd.rpc.errors import COMPACTED
from rusd.rpc.streams import ResponseStream
from rusd.wire import kv_response
from rusd.wire.header import Headers
from rusd.wire.keyvalue import key_of, kv_of

FIRST_CHUNK_KEYS = 10


class RangeStream(StreamTask):
    """One open stream."""

    def __init__(
        self,
        request: rpc.RangeRequest,
        node: ReadIndex,
        store: Store,
        headers: Headers,
        responses: ResponseStream,
        target_bytes: int,
        permit: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        """`target_bytes`: about the size of a chunk (--max-request-bytes). `permit` raises a
        Refusal if the caller may not read the range; `check`, before each chunk, if it may not any
        more.
        """
        super().__init__(responses)
        self._permit = permit
        self._check = check
        self._request = request
        self._node = node
        self._store = store
        self._headers = headers
        self._target = target_bytes

    async def run(self) -> None:
        if not self._request.serializable:
            await self._node.read_index()
        await self._send()

    async def _send(self) -> None:
        request, store = self._request, self._store
        self._permit()
        store.counts.ranges += 1
        revision = store.revision
        reading = _ChunkReader(
            store, request, request.revision if request.revision > 0 else revision
        )
        # Counting is a stream of no keys.
        limit = 0 if request.count_only else max(request.limit, 0) or sys.maxsize
        sent, keys = 0, FIRST_CHUNK_KEYS
        while True:
            chunk, more = await reading.take(min(keys, limit - sent), 2 * self._target)
            sent += len(chunk)
            if request.sort_target != rpc.RangeRequest.KEY:
                # As in a range, one key more than the limit is sorted.
                extra = reading.ahead[:1] if len(chunk) == limit else []
                steps = sort(chunk + extra, request.sort_target, request.keys_only)
                chunk = (await sliced.run(steps))[: len(chunk)]
            if not more or sent == limit:
                break
            self._check()
            encoded = kv_response.range_response(RangeResult(framed=chunk))
            self._responses.send(kv_response.message_field(1, encoded))
            keys = next_chunk_keys(keys, len(encoded), self._target)
            await self._ready(reading)
        count = sent + await reading.count()
        self._check()
        more = count > sent and not request.count_only
        last = kv_response.range_response(RangeResult(framed=chunk, more=more, count=count))
        self._responses.send(kv_response.message_field(1, self._headers.field(revision) + last))

    async def _ready(self, reading: "_ChunkReader") -> None:
        while not self._responses.ready():
            reading.pause()
            await self._wait_for_room()


class _ChunkReader:
    """The rows of one range at one revision, read ahead by one piece."""

    def __init__(self, store: Store, request: rpc.RangeRequest, revision: int) -> None:
        self._store = store
        self._revision = revision
        self._start, self._end = bounds(request.key, request.range_end)
        # Values that are sorted by are needed until then.
        by_value = request.sort_target == rpc.RangeRequest.VALUE
        self._keys_only = request.keys_only and not by_value
        #: Rows that were read and not taken yet.
        self.ahead: list[bytes] = []
        self._rows: Rows | None = store.rows(self._start, self._end, revision)

    def pause(self) -> None:
        """Release the store until the next call."""
        self._rows = None

    async def take(self, count: int, size: int) -> tuple[list[bytes], bool]:
        """Return (the next rows: `count`, or fewer of about `size` bytes; whether others
        follow).
        """
        ahead = self.ahead
        room = size - sum(map(len, ahead))
        kept = 1
        # One more than wanted, to know whether others follow.
        while len(ahead) < 2 or (len(ahead) <= count and room > 0):
            source = await self._at_next()
            began = time.perf_counter()
            part = source.read(min(max(count, 1) + 1 - len(ahead), DECODED_SLICE))
            if not part:
                kept = 0
                break
            self._start = key_of(kv_of(part[-1])) + b"\0"
            rows = [without_value(row) for row in part] if self._keys_only else part
            room -= sum(map(len, rows))
            ahead += rows
            await rest(time.perf_counter() - began)
        # A piece of the store may hold many large rows: the first of them are this chunk.
        ends = accumulate(map(len, ahead[1:count]), initial=0)
        taken = min(count, len(ahead) - kept, sum(1 for end in ends if end < size))
        self.ahead = ahead[taken:]
        return ahead[:taken], bool(self.ahead)

    async def count(self) -> int:
        """Skip the remaining rows; return their number."""
        return len(self.ahead) + await sliced.run(self._open().count())

    async def _at_next(self) -> Rows:
        """Return the rows, positioned at the next one."""
        began = time.perf_counter()
        while self._open().seeks():
            await rest(time.perf_counter() - began)
            began = time.perf_counter()
        return self._open()

    def _open(self) -> Rows:
        if self._store.compact_revision > self._revision:
            raise COMPACTED()
        if self._rows is None:
            self._rows = self._store.rows(self._start, self._end, self._revision)
        return self._rows


def next_chunk_keys(keys: int, size: int, target: int) -> int:
    """Return the number of keys of the next chunk: doubled after a chunk below half the target
    (bytes), halved after one above twice the target.
    """
    if size < target // 2:
        return keys * 2
    if size > target * 2:
        return max(keys // 2, 1)
    return keys
