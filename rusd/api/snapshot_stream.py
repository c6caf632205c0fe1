"""etcdserverpb.Maintenance/Snapshot: the state as etcd's database file, in chunks.

The last message holds the SHA-256 of all before it, which `etcdctl snapshot save` appends to the
file. A client that reads slowly keeps the file on disk and nothing else; the calls of other clients
go on.
"""

import asyncio
import hashlib

from rusd.api.stream_task import StreamTask
from rusd.backup.snapshot_files import STALLED, SnapshotFailed, SnapshotFile, SnapshotFiles
from rusd.base.chunks import Chunks
from rusd.base.logs import get_logger
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.streams import ResponseStream
from rusd.wire.snapshot_response import snapshot_response

log = get_logger(__name__)

#: Bytes of a chunk. (etcd's have 32 KiB; each costs both sides a message.)
CHUNK_BYTES = 1000 << 10


class SnapshotStream(StreamTask):
    """One open stream."""

    def __init__(self, files: SnapshotFiles, version: str, responses: ResponseStream) -> None:
        """`version`: of the storage, for the client."""
        super().__init__(responses)
        self._files = files
        self._version = version.encode()

    async def run(self) -> None:
        try:
            async with self._files.make() as file:
                await self._send(file)
                # (The client does not wait until the file is gone.)
                self._responses.finish()
        except SnapshotFailed as error:
            log.error("cannot make a snapshot", extra={"fields": {"error": str(error)}})
            raise EtcdError(Code.UNKNOWN, f"rusd: cannot make a snapshot: {error}") from error

    async def _send(self, file: SnapshotFile) -> None:
        fields = {"total-bytes": file.size, "storage-version": self._version.decode()}
        log.info("sending database snapshot to client", extra={"fields": fields})
        digest = hashlib.sha256()
        left = file.size

        def chunk() -> Chunks:
            nonlocal left
            data = file.read(CHUNK_BYTES)
            if not data:
                raise OSError("the file ended early")
            digest.update(data)
            left -= len(data)
            return snapshot_response(left, data, self._version)

        while left:
            await file.grown(CHUNK_BYTES)
            await self._ready()
            async with self._files.reading:
                # (Others may have filled the memory meanwhile.)
                if self._responses.ready():
                    self._responses.send(await self._files.worker.run(chunk))
        self._responses.send(snapshot_response(0, digest.digest(), self._version))
        fields = {"total-bytes": file.size, "checksum-size": digest.digest_size}
        log.info("successfully sent database snapshot to client", extra={"fields": fields})

    async def _ready(self) -> None:
        while not self._responses.ready():
            waiting = self._responses.waiting()
            try:
                # (`wait_for` would begin to wait a turn later: room made by then is not noticed.)
                async with asyncio.timeout(STALLED):
                    await self._wait_for_room()
            except TimeoutError:
                if self._files.crowded and self._responses.waiting() >= waiting:
                    raise SnapshotFailed(
                        f"the client read nothing for {STALLED:g} s, and others wait"
                    ) from None
