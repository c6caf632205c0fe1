"""A leader that is connected and says nothing."""

import asyncio
from pathlib import Path

from tests.unit.raft.cluster import Cluster, until


def test_a_leader_that_was_silent_for_an_election_timeout_is_forgotten(tmp_path: Path) -> None:
    async def body() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.leader()
            follower = (await cluster.followers())[0]
            # Frames are lost in both directions; the connections stay.
            cluster.isolate(follower.member_id)
            await until(lambda: follower.leader_id == 0)
            assert follower.driver.peers.connected()

    asyncio.run(body())
