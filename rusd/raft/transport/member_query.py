"""Asking a cluster from outside who its members are.

    members {protocol}                                 instead of a hello; one answer, then the end
    membership {cluster, members, learners, removed, started, lives, index}
        members: member id -> its peer URLs; started: those that have served; lives: of those that
        were met, the number of the last one (`lives.py`); index: of the log, up to which this holds

A member that joins learns its own id this way, and the cluster's. One that begins a cluster learns
that it had begun it before, on another disk. One that starts, or cannot reach somebody, learns that
it was removed meanwhile: the others know it no more and will not talk to it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rusd.raft.ports import Membership
from rusd.raft.transport.frames import PROTOCOL, MembersRequest, MembersResponse, pack
from rusd.raft.transport.query import TIMEOUT, put

MEMBERS_REQUEST = pack(MembersRequest(PROTOCOL))


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a member says of its cluster."""

    id: int
    membership: Membership
    #: Member id -> number of its last known incarnation.
    incarnations: Mapping[int, int] = field(default_factory=dict)
    #: The membership is not older than this entry of the log.
    index: int = 0


def answer(cluster: Cluster) -> bytes:
    """The `membership` frame, packed."""
    membership = cluster.membership
    return pack(
        MembersResponse(
            cluster=cluster.id,
            members=dict(membership.urls),
            learners=sorted(membership.learners),
            removed=sorted(membership.removed),
            started=sorted(membership.started),
            incarnations=dict(cluster.incarnations),
            index=cluster.index,
        )
    )


async def ask(url: str, patience: float = TIMEOUT) -> Cluster | None:
    """Ask the member at a peer URL; None if nobody there gives a proper answer in time."""
    found = await put(url, MEMBERS_REQUEST, patience)
    if not isinstance(found, MembersResponse):
        return None
    learners = frozenset(found.learners)
    voters = frozenset(found.members) - learners
    removed, started = frozenset(found.removed), frozenset(found.started)
    membership = Membership(voters, learners, found.members, removed, started)
    return Cluster(found.cluster, membership, found.incarnations, found.index)


async def ask_all(urls: Iterable[Sequence[str]], patience: float = TIMEOUT) -> list[Cluster]:
    """What all of these members say (each with its peer URLs), in their order. Two that fell behind
    may know of each other only what is old."""
    answers = await asyncio.gather(*(ask(url, patience) for each in urls for url in each))
    return [found for found in answers if found is not None]
