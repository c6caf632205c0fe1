"""A client that stops reading keeps its file until others wait for room."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from rusd.api import snapshot_stream
from rusd.api.snapshot_stream import SnapshotStream
from rusd.backup.snapshot_files import FILES, SnapshotFiles
from rusd.rpc.errors import EtcdError
from rusd.state.machine import StateMachine


class Client:
    """A response stream whose client reads or does not."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self.messages: list[bytes] = []
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    def send(self, message: bytes) -> None:
        self.messages.append(message)

    def ready(self) -> bool:
        return self._reads

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.ended.set()


def test_clients_that_read_nothing_give_way_to_those_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "STALLED", 0.02)
    machine = StateMachine(tmp_path / "state")
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)

    async def scene() -> None:
        stalled = [Client(reads=False) for _ in range(FILES)]
        for number, client in enumerate(stalled, 1):
            SnapshotStream(files, "3.6.0", client)
            while files.open < number:
                await asyncio.sleep(0.001)
        # Nobody waits: they keep what they have.
        await asyncio.sleep(0.1)
        assert not any(client.ended.is_set() for client in stalled)
        waiting = Client(reads=True)
        SnapshotStream(files, "3.6.0", waiting)
        await waiting.ended.wait()
        assert waiting.error is None
        assert waiting.messages
        told: list[Any] = [client.error for client in stalled if client.ended.is_set()]
        assert told
        assert all(isinstance(error, EtcdError) for error in told)
        assert "the client read nothing" in str(told[0])
        await files.stop()

    asyncio.run(scene())
    machine.close()


class PromptClient(Client):
    """Takes what it was sent in the turn of the loop after the stream was found full."""

    def __init__(self) -> None:
        super().__init__(reads=True)
        self.stream: SnapshotStream | None = None

    def ready(self) -> bool:
        if not self._reads:
            asyncio.get_running_loop().call_soon(self._take)
        return self._reads

    def send(self, message: bytes) -> None:
        super().send(message)
        self._reads = False

    def _take(self) -> None:
        self._reads = True
        assert self.stream is not None
        self.stream.drained()


def test_room_that_is_made_at_once_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "CHUNK_BYTES", 1024)
    machine = StateMachine(tmp_path / "state")
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)

    async def scene() -> None:
        client = PromptClient()
        client.stream = SnapshotStream(files, "3.6.0", client)
        await asyncio.wait_for(client.ended.wait(), 10)
        assert client.error is None
        assert len(client.messages) > 2
        await files.stop()

    asyncio.run(scene())
    machine.close()


def test_a_client_has_the_end_while_the_file_is_still_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = StateMachine(tmp_path / "state")
    files = SnapshotFiles(tmp_path / "exports", machine.checkpoint)
    may_go = threading.Event()
    leave = SnapshotFiles._leave

    def late(self: SnapshotFiles, place: Path, *, keep: bool) -> None:
        may_go.wait()
        leave(self, place, keep=keep)

    monkeypatch.setattr(SnapshotFiles, "_leave", late)

    async def scene() -> None:
        client = Client(reads=True)
        SnapshotStream(files, "3.6.0", client)
        try:
            await asyncio.wait_for(client.ended.wait(), 10)
            assert list((tmp_path / "exports").iterdir())
        finally:
            may_go.set()
        await files.stop()
        assert not list((tmp_path / "exports").iterdir())

    asyncio.run(scene())
    machine.close()
