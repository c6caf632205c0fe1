"""Requests a cluster's member list, from a member or from outside.

    MembersRequest {protocol}      in place of a hello; one response, then the end
    MembersResponse {cluster, members, learners, removed, started, incarnations, index}

A member that joins learns its own id and the cluster's this way. A member that begins a cluster
learns that it had begun it before, on another disk. A member that starts, or cannot reach its
peers, learns that it was removed: they do not accept its connections any more.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rusd.raft.ports import WITHOUT_TLS, Membership, PeerTls
from rusd.raft.transport.frames import PROTOCOL, MembersRequest, MembersResponse, pack
from rusd.raft.transport.query import TIMEOUT, query

MEMBERS_REQUEST = pack(MembersRequest(PROTOCOL))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cluster as one member reports it."""

    id: int
    membership: Membership
    #: Member id -> number of its last known incarnation.
    incarnations: Mapping[int, int] = field(default_factory=dict)
    #: The membership is not older than this entry of the log.
    index: int = 0


def answer(cluster: Cluster) -> bytes:
    """Return the encoded `membership` frame."""
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


async def ask(url: str, patience: float = TIMEOUT, tls: PeerTls = WITHOUT_TLS) -> Cluster | None:
    """Ask the member at a peer URL; None if no valid response comes in time."""
    found = await query(url, MEMBERS_REQUEST, patience, tls)
    if not isinstance(found, MembersResponse):
        return None
    learners = frozenset(found.learners)
    voters = frozenset(found.members) - learners
    removed, started = frozenset(found.removed), frozenset(found.started)
    membership = Membership(voters, learners, found.members, removed, started)
    return Cluster(found.cluster, membership, found.incarnations, found.index)


async def ask_all(
    urls: Iterable[Sequence[str]], patience: float = TIMEOUT, tls: PeerTls = WITHOUT_TLS
) -> list[Cluster]:
    """Returns the responses of all these members (each with its peer URLs), in their order.

    All of them, since a member that fell behind may list members as they were.
    """
    answers = await asyncio.gather(*(ask(url, patience, tls) for each in urls for url in each))
    return [found for found in answers if found is not None]
