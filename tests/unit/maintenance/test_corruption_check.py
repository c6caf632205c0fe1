"""The corruption check: malformed answers, and which compactions are compared again."""

import asyncio
import logging
import struct
from collections.abc import Callable, Generator
from typing import Any, cast

import pytest

from rusd.base.errors import Refusal
from rusd.maintenance.corruption_check import CorruptionCheck
from rusd.mvcc.hash import HashResult

OWN, OTHER = 1, 2


class Node:
    """A node whose peers answer with these bytes."""

    member_id = OWN
    is_leader = True

    def __init__(self, answer: bytes) -> None:
        self.answer_body = answer
        self.asked = 0
        self.alarms = 0
        #: Alarms that are refused before one is accepted.
        self.refusals = 0

    def serve(self, kind: str, handler: Any) -> None:
        """Registers nothing: no other member sends requests."""

    def connected_since(self, member: int) -> float | None:
        return 1.0

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        self.asked += 1
        return self.answer_body

    async def propose(self, payload: bytes) -> None:
        self.alarms += 1
        if self.alarms <= self.refusals:
            raise Refusal("no leader")


class Peer:
    id = OTHER


@pytest.mark.parametrize("answer", [b"", b"\0", b"x" * 27, b"x" * 29, b"x" * 100_000])
def test_a_malformed_hash_answer_of_a_peer_is_a_warning(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    check = CorruptionCheck(cast(Any, Node(answer)), cast(Any, None), cast(Any, [Peer()]))
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(check._ask_others(7)) == {OTHER: None}
    assert [record.getMessage() for record in caplog.records] == ["cannot fetch hash from a member"]


class Store:
    """A store whose keys have the hash 1 at every revision."""

    compact_revision = 5
    revision = 9

    def hash_readable(self, revision: int) -> Generator[None, None, HashResult]:
        yield
        return HashResult(1, self.compact_revision, revision)


def answer(checksum: int, compact_revision: int) -> bytes:
    return struct.pack(">Iqqq", checksum, compact_revision, compact_revision, 9)


def checking(node: Node, store: Store, until: Callable[[], bool]) -> None:
    """Run the check after compactions until the condition holds."""

    async def run() -> None:
        check = CorruptionCheck(cast(Any, node), cast(Any, store), cast(Any, [Peer()]))
        task = asyncio.create_task(check.check_compactions_every(0))
        async with asyncio.timeout(30):
            while not until():
                assert not task.done()
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())


def test_a_compaction_that_all_members_agreed_on_is_not_compared_again() -> None:
    node, store = Node(answer(1, 5)), Store()
    turns = 0

    def until() -> bool:
        nonlocal turns
        turns += 1
        if turns == 100:
            assert node.asked == 1
            # A difference that arises later is found at the next compaction.
            node.answer_body = answer(2, 5)
        if turns == 200:
            assert (node.asked, node.alarms) == (1, 0)
            store.compact_revision = 6
            node.answer_body = answer(2, 6)
        return node.alarms > 0

    checking(node, store, until)


def test_a_member_that_has_not_compacted_yet_is_compared_later() -> None:
    node = Node(answer(1, 4))

    def until() -> bool:
        if node.asked == 3:
            node.answer_body = answer(2, 5)
        return node.alarms > 0

    checking(node, Store(), until)
    assert node.asked > 3


def test_an_alarm_that_is_refused_is_raised_again() -> None:
    node = Node(answer(2, 5))
    node.refusals = 2
    checking(node, Store(), lambda: node.alarms == 3)
