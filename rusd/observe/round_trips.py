"""Measures the round trip to every other member with a request that is answered at once.

The time includes what both event loops did meanwhile, as a heartbeat's does.
"""

import asyncio
import time
from typing import Protocol

from rusd.base.errors import Refusal
from rusd.raft.errors import AnsweredWithError
from rusd.raft.interface import Measured, PeerCalls, Peers

#: Seconds between two questions to a member.
INTERVAL = 5.0
#: Seconds after which no answer is waited for.
TIMEOUT = 5.0
#: Name of the question.
KIND = "round trip"


class Node(Measured, PeerCalls, Peers, Protocol):
    """The part of the Raft node that this room uses."""


class RoundTrips:
    """Sends round-trip requests to every connected member, and answers theirs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        node.serve(KIND, self._answer)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(INTERVAL)

    async def ask(self) -> None:
        """Measure every connected member once; an unconnected one counts as a message not sent."""
        peers = self._node.peer_status()
        traffic = self._node.statistics().traffic
        for one, peer in peers.items():
            traffic[one].sent_failures += not peer.connected
        await asyncio.gather(*(self._ask(one) for one, peer in peers.items() if peer.connected))

    async def _ask(self, member: int) -> None:
        began = time.perf_counter()
        try:
            await self._node.ask(member, KIND, b"", TIMEOUT)
        except AnsweredWithError:
            pass  # a release that does not know the question has answered as well
        except Refusal:
            return
        self._node.statistics().traffic[member].round_trips.observe(time.perf_counter() - began)

    async def _answer(self, member: int, body: bytes) -> bytes:
        return b""
