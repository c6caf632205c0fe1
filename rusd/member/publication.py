"""Publishes this member's name and client URLs to the cluster, through Raft.

Publication also marks the member as started: from then on the others know that its disk holds
acknowledged writes, and refuse an empty data directory under its id
(`raft/transport/handshake.py`). So a member publishes only after a read index, which proves that
it has caught up: before that a snapshot may still be on its way.

Clients wait for the publication, so the pause after a refusal is short. An attempt without a leader
waits for one by itself.
"""

import asyncio
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.raft.errors import Stopped
from rusd.raft.interface import Proposer, ReadIndex
from rusd.state.command import Kind, encode
from rusd.state.members import Member

log = get_logger(__name__)

#: Seconds between two attempts: at first, doubled each time, and at most.
RETRY, RETRY_MAX = 0.1, 1.0


class Node(Proposer, ReadIndex, Protocol):
    """The part of the Raft node that this room uses."""


async def publish(node: Node, member: Member) -> bool:
    """Propose `member`'s attributes until they are applied. False if the node stopped before."""
    payload = encode(Kind.MEMBER_ATTRIBUTES, member.message().SerializeToString())
    pause = RETRY
    while True:
        try:
            await node.read_index()
            await node.propose(payload)
            break
        except Stopped:
            return False
        except Refusal as error:
            log.warning("cannot publish yet", extra={"fields": {"error": str(error)}})
        await asyncio.sleep(pause)
        pause = min(2 * pause, RETRY_MAX)
    log.info(
        "published local member to cluster through raft",
        extra={"fields": {"local-member-id": f"{member.id:x}", "name": member.name}},
    )
    return True
