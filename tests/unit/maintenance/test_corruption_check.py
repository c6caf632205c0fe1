"""What the corruption check does with an answer that is none."""

import asyncio
import logging
from typing import Any, cast

import pytest

from rusd.maintenance.corruption_check import CorruptionCheck

OWN, OTHER = 1, 2


class Node:
    """A node whose peers answer with these bytes."""

    member_id = OWN

    def __init__(self, answer: bytes) -> None:
        self._answer_body = answer

    def serve(self, kind: str, handler: Any) -> None:
        """Nobody asks."""

    def connected_since(self, member: int) -> float | None:
        return 1.0

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        return self._answer_body


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
