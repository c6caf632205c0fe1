"""A client that stops reading keeps its file until others wait for room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rusd.api import snapshot_stream
from rusd.api.snapshot_stream import SnapshotStream
from rusd.backup.snapshot_files import FILES, SnapshotFile, SnapshotFiles
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

    def waiting(self) -> int:
        return 1

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.ended.set()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[SnapshotFiles]:
    machine = StateMachine(tmp_path / "state")
    yield SnapshotFiles(tmp_path / "exports", machine.checkpoint)
    machine.close()


def run(files: SnapshotFiles, scene: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scene()
        await files.stop()

    asyncio.run(whole())


async def open_streams(files: SnapshotFiles, clients: Sequence[Client]) -> None:
    """One after the other, each with a file of its own."""
    for number, client in enumerate(clients, 1):
        SnapshotStream(files, "3.6.0", client)
        while files.open < number:
            await asyncio.sleep(0.001)


def test_clients_that_read_nothing_give_way_to_those_that_wait(
    files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "STALLED", 0.02)

    async def scene() -> None:
        stalled = [Client(reads=False) for _ in range(FILES)]
        await open_streams(files, stalled)
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

    run(files, scene)


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
    files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "CHUNK_BYTES", 1024)

    async def scene() -> None:
        client = PromptClient()
        client.stream = SnapshotStream(files, "3.6.0", client)
        await asyncio.wait_for(client.ended.wait(), 10)
        assert client.error is None
        assert len(client.messages) > 2

    run(files, scene)


def test_a_client_has_the_end_while_the_file_is_still_put_away(
    files: SnapshotFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    run(files, scene)
    assert not list((tmp_path / "exports").iterdir())


class SlowClient(Client):
    """Takes something again and again, and never all that there is."""

    def __init__(self) -> None:
        super().__init__(reads=False)
        self._left = 1 << 30

    def waiting(self) -> int:
        self._left -= 1
        return self._left


def test_a_client_that_reads_slowly_keeps_its_file_while_others_wait(
    files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_stream, "STALLED", 0.02)

    async def scene() -> None:
        slow = [SlowClient() for _ in range(FILES)]
        await open_streams(files, slow)
        SnapshotStream(files, "3.6.0", Client(reads=True))
        await asyncio.sleep(0.3)
        assert files.crowded
        assert not any(client.ended.is_set() for client in slow)

    run(files, scene)


def test_nothing_is_read_for_a_client_that_has_no_room(
    files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(SnapshotFile, "read", lambda self, size: read.append(size))

    async def scene() -> None:
        for _ in range(20):
            SnapshotStream(files, "3.6.0", Client(reads=False))
        while not files.open:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)

    run(files, scene)
    assert read == []


@pytest.mark.parametrize("turns", range(4))
def test_a_member_that_stops_at_the_end_of_a_save_leaves_no_process(
    files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    made: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        made.append(await start(*args, **options))
        return made[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def scene() -> None:
        client = Client(reads=True)
        stream = SnapshotStream(files, "3.6.0", client)
        await client.ended.wait()
        # (As the door does.)
        asyncio.get_running_loop().call_soon(stream.closed)
        for _ in range(turns):
            await asyncio.sleep(0)
        await files.stop()
        assert [one.returncode is None for one in made] == [False]

    asyncio.run(scene())
