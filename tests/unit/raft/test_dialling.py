"""Either member of a pair may dial; the pair keeps one connection, the same at both ends."""

import asyncio
from pathlib import Path

import pytest

from rusd.raft.node import RaftNode
from rusd.raft.transport import dialling
from rusd.raft.transport.peers import Peers
from tests.unit.raft.cluster import Cluster, until
from tests.unit.raft.test_peer_certificates import AWAY, HOME, STRANGE, Guarded, together


def test_the_higher_id_is_let_in_though_none_of_its_own_connections_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others dial it once it did not get through for some time."""
    monkeypatch.setattr(dialling, "PATIENCE", 0.3)

    async def body() -> None:
        cluster = Guarded(tmp_path, {1: HOME, 2: HOME, 3: AWAY})
        cluster.sources[3] = STRANGE
        async with cluster:
            await until(lambda: together(cluster))
            since = [cluster.nodes[3].connected_since(other) for other in (1, 2)]
            assert await cluster.nodes[3].propose(b"one") == 1
            await cluster.equal()
            # Neither side dials while there is a connection.
            await asyncio.sleep(2 * dialling.PATIENCE)
            assert [cluster.nodes[3].connected_since(other) for other in (1, 2)] == since
            for other in (1, 2):
                cluster.nodes[3].driver.peers.break_off(other, "the test cuts it")
            await until(lambda: not together(cluster))
            await until(lambda: together(cluster))

    asyncio.run(body())


def ends(node: RaftNode, peer: int) -> set[object] | None:
    """The two addresses of the connection that counts for a node."""
    connection = node.driver.peers._live.get(peer)
    if connection is None or connection._transport is None:
        return None
    return {connection._transport.get_extra_info(name) for name in ("sockname", "peername")}


def as_before(peers: Peers) -> None:
    """In releases before, the higher id alone dials, and the newest connection counts."""
    for higher in [member for member in peers._urls if member > peers._member]:
        peers._end_dialling(higher)
    peers._may_count = lambda member, dialler: True  # type: ignore[method-assign]
    peers._is_outdated = lambda connection, member: False  # type: ignore[method-assign]


@pytest.mark.parametrize("old", [0, 1, 2, 3])
def test_members_that_dial_at_the_same_moment_keep_the_same_connection(
    old: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if one of them is of a release before."""
    monkeypatch.setattr(dialling, "PATIENCE", 0.1)

    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            nodes = cluster.nodes
            if old:
                as_before(nodes[old].driver.peers)

            def agreed() -> bool:
                return all(
                    ends(nodes[one], two) == ends(nodes[two], one) is not None
                    for one, two in ((1, 2), (1, 3), (2, 3))
                )

            await until(agreed)
            for number in range(8):
                for node in nodes.values():
                    for other in cluster.members:
                        node.driver.peers.break_off(other, "the test cuts it")
                await until(agreed)
                await cluster.leader()
                assert await nodes[number % 3 + 1].propose(b"%d" % number) == number + 1
            await until(agreed)
            kept = [ends(node, other) for node in nodes.values() for other in cluster.members]
            await asyncio.sleep(2 * dialling.PATIENCE)  # nothing happens
            assert kept == [
                ends(node, other) for node in nodes.values() for other in cluster.members
            ]

    asyncio.run(body())


@pytest.mark.parametrize(
    ("dialler", "of_old", "counts"), [(1, 1, True), (2, 2, True), (2, 1, True), (1, 2, False)]
)
def test_a_later_connection_counts_unless_the_higher_id_still_has_its_own(
    dialler: int, of_old: int, counts: bool
) -> None:
    assert dialling.replaces(dialler, of_old) is counts
