"""Every frame that a member sends is accepted by others, however large the requests."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rusd.base.errors import Refusal
from rusd.raft.commands import encode_entry
from rusd.raft.core import messages
from rusd.raft.core.messages import APPEND_BYTES, appends_of
from rusd.raft.errors import TooLarge
from rusd.raft.transport import frames
from rusd.raft.transport.frames import (
    MAX_CARRIED,
    MAX_FRAME,
    AppendEntries,
    PeerRequest,
    Propose,
    decode,
    pack,
)
from rusd.raft.transport.requests import MAX_BODY, PeerRequests
from tests.support.tasks import unexpected
from tests.unit.raft.cluster import Cluster, until

LARGE = bytes(33 << 20)


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ((), [0]),
        ((10, 20), [2]),
        ((APPEND_BYTES, 1), [1, 1]),
        ((4 << 20, len(LARGE)), [1, 1]),
        ((len(LARGE), len(LARGE), 5, 6), [1, 1, 2]),
        ((10, MAX_CARRIED + 40, 10), [1, 1, 1]),
    ],
)
def test_an_append_is_sent_in_frames_that_follow_each_other(
    sizes: tuple[int, ...], counts: list[int]
) -> None:
    entries = [(bytes(size), 8 + at, 3) for at, size in enumerate(sizes)]
    append = {"type": "append_entries", "term": 3, "commit_index": 6, "entries": entries}
    parts = list(appends_of({**append, "prevLogIdx": 7, "prevLogTerm": 2, "attempt": 4}))
    assert all(part.attempt == 4 for part in parts)
    assert [len(part.entries) for part in parts] == counts
    assert [entry for part in parts for entry in part.entries] == entries
    index, term = 7, 2
    for part in parts:
        assert (part.prev_index, part.prev_term) == (index, term)
        assert len(pack(part)) <= MAX_FRAME
        decode(pack(part)[4:], member=True)
        if part.entries:
            _, index, term = part.entries[-1]


def test_the_largest_payload_fits_into_both_frames_that_carry_it() -> None:
    highest = (1 << 64) - 1
    request = (highest, highest, bytes(MAX_CARRIED))
    proposal = Propose(1 << 62, [request])
    assert len(pack(proposal)) <= MAX_FRAME
    entry = (encode_entry([request]), 1 << 62, 1 << 62)
    assert len(pack(AppendEntries(3, 6, 7, 2, [entry]))) <= MAX_FRAME


def test_a_member_that_was_away_is_sent_entries_of_more_than_half_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it 64 times smaller, which is quicker."""
    for kind in (frames._key(AppendEntries), frames._key(Propose)):
        _, *rest = frames._OF_MEMBERS[kind]
        monkeypatch.setitem(frames._OF_MEMBERS, kind, (MAX_FRAME // 64, *rest))
    monkeypatch.setattr(messages, "APPEND_BYTES", APPEND_BYTES // 64)

    async def scenario() -> None:
        async with Cluster(tmp_path, election_ms=2000, unsafe_no_fsync=True) as cluster:
            await cluster.leader()
            (away, other) = await cluster.followers()
            cluster.isolate(away.member_id)
            for number in range(3):  # forwarded to the leader
                await other.propose(b"%d" % number + LARGE[: len(LARGE) // 64])
            with pytest.raises(Refusal) as refused:
                await other.propose(bytes(MAX_CARRIED + 1))
            assert isinstance(refused.value, TooLarge)
            index = other.applied_index
            cluster.heal()
            async with asyncio.timeout(30):
                while away.applied_index < index:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_an_answer_that_no_member_would_take_is_an_error() -> None:
    async def scenario() -> None:
        sent: list[Any] = []
        asks = PeerRequests(lambda member, frame: sent.append(frame), unexpected)

        async def too_much(member: int, body: bytes) -> bytes:
            return bytes(MAX_CARRIED + len(body))

        asks.serve("ttl", too_much)
        for body in (b"", b"1"):
            asks.asked(2, PeerRequest(1, "ttl", body))
        await until(lambda: not asks._tasks)
        fits, refused = sent
        assert fits.error == []
        assert len(pack(fits)) <= MAX_FRAME
        assert refused.error[1] == "the answer is too large"
        assert len(pack(refused)) < 1000
        with pytest.raises(Refusal) as raised:
            await asks.ask(2, "ttl", bytes(MAX_BODY + 1), 5.0)
        assert isinstance(raised.value, TooLarge)

    asyncio.run(scenario())
