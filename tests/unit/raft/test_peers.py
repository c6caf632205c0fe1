"""The peer port: only members get in, and nobody disturbs the others."""

import asyncio
from pathlib import Path

import pytest

from rusd.raft import peers as peers_module
from rusd.raft.peers import PROTOCOL, Peers, pack
from tests.unit.raft.cluster import Cluster, free_ports, until


async def refused(cluster: Cluster, data: bytes) -> None:
    """Say `data` to member 1's peer port, which ends the connection; a hello may be answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.ports[1])
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            answer = await reader.read()
            assert answer in (b"", cluster.nodes[1]._peers.hello)
    except ConnectionResetError:
        pass
    finally:
        writer.close()


def hello(**changes: object) -> bytes:
    fields = {"type": "hello", "protocol": PROTOCOL, "cluster": 77, "member": 2, **changes}
    return pack(fields)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
        b"\x00\x00\x00\x01\x93",
        b"\xff" * 100_000,
        pack({"type": "append_entries", "term": 99, "commit_index": 0}),
        pack({"type": 5}),
        hello(cluster=78),
        hello(member=9),
        hello(member=1),
        hello(member=[2]),
        hello(protocol="rusd-peer/0"),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_strangers_are_dropped_and_members_are_not_disturbed(tmp_path: Path, data: bytes) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            leader = await cluster.leader()
            term = leader.term
            await refused(cluster, data)
            assert await leader.propose(b"one") == 1
            assert (await cluster.leader()).term == term

    asyncio.run(body())


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "append_entries", "term": "x", "commit_index": 0},
        {"type": "append_entries", "term": 1 << 40},
        {"type": "append_entries", "term": 1, "commit_index": 1, "serialized": [b"", 1, 1]},
        {
            "type": "append_entries",
            "term": 1 << 40,
            "commit_index": 1,
            "prevLogIdx": 1,
            "prevLogTerm": 0,
            "entries": [[b"\x02cos\nsystem", 2, 1]],
        },
        {"type": "propose", "term": 1, "batch": [[1, 2, "text"]]},
        {"type": "apply_command", "command": b"\x00"},
        {"type": "nonsense"},
        {"type": "snapshot", "stream": 1, "op": "begin", "index": 9, "files": {"a": -1}},
        {"type": "ask", "id": "x", "kind": "k", "body": b""},
    ],
    ids=lambda frame: str(frame)[:60],
)
def test_a_frame_no_member_sends_ends_its_connection_only(
    tmp_path: Path, frame: dict[str, object]
) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            await refused(cluster, hello() + pack(frame))
            async with asyncio.timeout(5):
                await cluster.nodes[1].propose(b"one")
            assert all(not node._stopped for node in cluster.nodes.values())

    asyncio.run(body())


def test_who_says_nothing_is_dropped_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "HELLO_TIMEOUT", 0.1)

    async def body() -> None:
        async with Cluster(tmp_path, 1) as cluster:
            await refused(cluster, b"")
            await refused(cluster, b"\x00\x00")

    asyncio.run(body())


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            await refused(cluster, hello() + (peers_module.MAX_FRAME + 1).to_bytes(4, "big"))

    asyncio.run(body())


def test_members_connect_again_by_themselves(tmp_path: Path) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            for node in cluster.nodes.values():
                for other in cluster.members:
                    node._peers.break_off(other, "the test cuts it")
            await until(
                lambda: all(len(node._peers.connected()) == 2 for node in cluster.nodes.values())
            )
            assert await cluster.nodes[2].propose(b"one") == 1

    asyncio.run(body())


def test_members_of_another_cluster_never_meet(tmp_path: Path) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.kill(3)
            cluster.settings["cluster_id"] = 78
            leader = await cluster.leader()
            stranger = await cluster.start(3)
            await leader.propose(b"one")
            assert stranger._peers.connected() == set()
            assert cluster.machines[3].payloads == []

    asyncio.run(body())


def test_dialling_can_be_stopped_at_any_moment() -> None:
    async def body() -> None:
        port = free_ports(1)[0]
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", port)
        for moments in range(12):
            peers = Peers(
                2,
                77,
                {1: [f"http://127.0.0.1:{port}"]},
                on_frames=lambda member, frames: None,
                on_connected=lambda member: None,
                on_lost=lambda member: None,
            )
            await peers.start([])
            for _ in range(moments):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await peers.stop()
        server.close()

    asyncio.run(body())
