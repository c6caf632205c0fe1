"""Asking a cluster from outside who its members are.

    members {protocol}                                 instead of a hello; one answer, then the end
    membership {cluster, members, learners, removed}   members: member id -> its peer URLs

A member that joins learns its own id this way, and the cluster's. One that hears from nobody learns
that it was removed meanwhile: the others know it no more and will not talk to it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rusd.raft.frames import PROTOCOL, pack
from rusd.raft.ports import Membership
from rusd.raft.question import put

MEMBERS_QUESTION = pack({"type": "members", "protocol": PROTOCOL})


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a member says of its cluster."""

    id: int
    membership: Membership


def answer(cluster: int, membership: Membership) -> bytes:
    """The `membership` frame, packed."""
    return pack(
        {
            "type": "membership",
            "cluster": cluster,
            "members": {member: list(urls) for member, urls in membership.urls.items()},
            "learners": sorted(membership.learners),
            "removed": sorted(membership.removed),
        }
    )


async def ask(url: str) -> Cluster | None:
    """Ask the member at a peer URL; None if nobody there gives a proper answer in time."""
    found = await put(url, MEMBERS_QUESTION)
    if found is None or found["type"] != "membership":
        return None
    learners = frozenset(found["learners"])
    voters = frozenset(found["members"]) - learners
    membership = Membership(voters, learners, found["members"], frozenset(found["removed"]))
    return Cluster(found["cluster"], membership)


async def ask_all(urls: Iterable[Sequence[str]]) -> list[Cluster]:
    """What all of these members say (each with its peer URLs), in their order. Two that fell behind
    may know of each other only what is old."""
    answers = await asyncio.gather(*(ask(url) for each in urls for url in each))
    return [found for found in answers if found is not None]
