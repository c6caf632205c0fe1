"""RangeStream: one range, sent in chunks so that no message grows with the number of keys.

Everything is read at one revision; the chunks go out as fast as the client takes them. The first
holds few keys, so that a client sees something soon; the size then adapts to the keys' size. Only
the last chunk carries header, `more` and `count`.
"""

import asyncio
from typing import Any, Protocol

from rusd.api.require_leader import RequireLeader
from rusd.api.seam import Outlet
from rusd.errors import STOPPED, EtcdError
from rusd.logs import get_logger
from rusd.mvcc.query import RangeResult
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.state import responses

log = get_logger(__name__)

FIRST_CHUNK_KEYS = 10


class Reads(Protocol):
    """What a stream needs of Raft."""

    def read_index(self) -> asyncio.Future[None]: ...


class Headers(Protocol):
    """Encoded response headers."""

    def field(self, revision: int) -> bytes: ...


class RangeStream:
    """One open stream (a StreamHandler of the seam)."""

    def __init__(
        self,
        request: rpc.RangeRequest,
        node: Reads,
        store: Store,
        headers: Headers,
        outlet: Outlet,
        require_leader: RequireLeader,
        target_bytes: int,
    ) -> None:
        """`target_bytes`: about the size of a chunk (--max-request-bytes)."""
        self._request = request
        self._node = node
        self._store = store
        self._headers = headers
        self._outlet = outlet
        self._require_leader = require_leader
        self._target = target_bytes
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def received(self, request: Any) -> None:
        raise AssertionError("a server stream has one request")

    def half_closed(self) -> None:
        """Said with the one request."""

    def drained(self) -> None:
        self._room.set()

    def closed(self) -> None:
        self._require_leader.leave(self._outlet)
        self._task.cancel()

    async def _run(self) -> None:
        try:
            if not self._request.serializable:
                await self._node.read_index()
            revision = self._store.revision
            await self._send(revision, await self._read())
        except EtcdError as error:
            self._outlet.finish(error)
        except Exception:
            # Such as a snapshot that replaced the database meanwhile: the client may try again.
            log.exception("range stream failed")
            self._outlet.finish(STOPPED)
        else:
            self._outlet.finish()

    async def _read(self) -> RangeResult:
        slices = self._store.range_slices(self._request)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                result: RangeResult = end.value
                return result
            await asyncio.sleep(0)

    async def _send(self, revision: int, result: RangeResult) -> None:
        kvs = result.kvs
        keys, start = FIRST_CHUNK_KEYS, 0
        while start + keys < len(kvs):
            chunk = responses.range_response(RangeResult(kvs[start : start + keys], False, 0))
            self._outlet.send(responses.message_field(1, chunk))
            start += keys
            keys = next_chunk_keys(keys, len(chunk), self._target)
            await self._ready()
        last = responses.range_response(RangeResult(kvs[start:], result.more, result.count))
        self._outlet.send(responses.message_field(1, self._headers.field(revision) + last))

    async def _ready(self) -> None:
        while not self._outlet.ready():
            self._room.clear()
            await self._room.wait()
        await asyncio.sleep(0)


def next_chunk_keys(keys: int, size: int, target: int) -> int:
    """Keys of the next chunk: twice as many after one below half the target (bytes), half as many
    after one above twice the target."""
    if size < target // 2:
        return keys * 2
    if size > target * 2:
        return max(keys // 2, 1)
    return keys
