"""Publication of a member's name and client URLs."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from rusd.member.publication import publish
from rusd.raft.errors import RequestTimeout
from rusd.state.members import Member


class Node:
    """The Raft node of a member that has not caught up yet."""

    def __init__(self) -> None:
        self.reads: list[asyncio.Future[None]] = []
        self.proposed: list[bytes] = []

    def read_index(self) -> asyncio.Future[None]:
        self.reads.append(asyncio.get_running_loop().create_future())
        return self.reads[-1]

    async def propose(self, payload: bytes) -> None:
        self.proposed.append(payload)


def test_a_member_is_published_when_it_has_caught_up_and_not_before() -> None:
    async def body() -> None:
        node = Node()
        publishing = asyncio.create_task(publish(cast(Any, node), Member(id=7, name="a")))
        for answer in (RequestTimeout(), None):
            while not node.reads:
                await asyncio.sleep(0)
            assert not node.proposed, "the others would take it for one that holds something"
            read = node.reads.pop()
            if answer is None:
                read.set_result(None)
            else:
                read.set_exception(answer)
        assert await publishing
        assert len(node.proposed) == 1

    asyncio.run(asyncio.wait_for(body(), 20))
