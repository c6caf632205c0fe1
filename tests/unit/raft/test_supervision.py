"""A background task of Raft that fails ends the member; none is lost silently."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rusd.raft.node import RaftNode
from rusd.raft.snapshots.streams import SnapshotStreams
from rusd.raft.transport import peers
from rusd.raft.transport.frames import PeerRequest
from tests.unit.raft.cluster import Cluster


class FaultError(Exception):
    """An error that no code here expects."""


def fault(*_: Any, **__: Any) -> Any:
    raise FaultError


def ends_the_member(tmp_path: Path, cause: Callable[[RaftNode], None]) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            node = cluster.nodes[3]
            cause(node)
            with pytest.raises(FaultError):
                async with asyncio.timeout(10):
                    await node.wait_failed()

    asyncio.run(body())


def test_the_end_of_a_dialler_ends_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the member would never dial that peer again."""

    def cause(node: RaftNode) -> None:
        monkeypatch.setattr(peers, "connect", fault)
        node.driver.peers.break_off(1, "the test cuts it")

    ends_the_member(tmp_path, cause)


def test_a_fault_in_confirming_a_connection_ends_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ask_back", fault)

    async def body() -> None:
        cluster = Cluster(tmp_path, 2)
        try:
            await cluster.start(1)
            await cluster.start(2)  # dials 1
            with pytest.raises(FaultError):
                async with asyncio.timeout(10):
                    await cluster.nodes[1].wait_failed()
        finally:
            await cluster.__aexit__(None, None, None)

    asyncio.run(body())


def test_a_fault_in_answering_a_request_ends_the_member(tmp_path: Path) -> None:
    def cause(node: RaftNode) -> None:
        node.driver.requests._send = fault
        node.driver.requests.asked(1, PeerRequest(1, "nothing", b""))

    ends_the_member(tmp_path, cause)


def test_a_fault_in_making_a_snapshot_ends_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cause(node: RaftNode) -> None:
        monkeypatch.setattr(SnapshotStreams, "_push", fault)
        node.driver.streams.begin(1, node.applied_index, node.clock.now())

    ends_the_member(tmp_path, cause)
