"""Whole Raft nodes in one event loop, over real sockets, with a cuttable wire between them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rusd.raft.config import RaftConfig
from rusd.raft.node import RaftNode
from tests.support.ports import free_ports
from tests.support.toy_machine import ToyMachine

#: Election timeout of these tests, ms: short, yet far above a turn on a busy machine.
ELECTION_MS = 500


async def until(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


class Cluster:
    """Members 1..n; `async with` starts and stops them."""

    def __init__(self, directory: Path, size: int = 3, **settings: Any) -> None:
        self.directory = directory
        self.members = list(range(1, size + 1))
        self.ports = dict(zip(self.members, free_ports(size), strict=True))
        self.settings: dict[str, Any] = {
            "heartbeat_ms": ELECTION_MS // 10,
            "election_ms": ELECTION_MS,
            "cluster_id": 77,
            **settings,
        }
        self.nodes: dict[int, RaftNode] = {}
        self.machines: dict[int, ToyMachine] = {}
        #: (from, to) pairs whose frames are lost.
        self.cut: set[tuple[int, int]] = set()
        #: Seconds a frame takes from one member to another.
        self.delay = 0.0

    async def __aenter__(self) -> "Cluster":
        for member in self.members:
            await self.start(member)
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in list(self.nodes):
            await self.kill(member)

    def url(self, member: int) -> str:
        return f"http://127.0.0.1:{self.ports[member]}"

    def listen(self, member: int) -> str:
        return self.url(member)

    async def start(self, member: int) -> RaftNode:
        home = self.directory / str(member)
        machine = self.machines[member] = ToyMachine(home / "state")
        config = RaftConfig(
            member_id=member,
            peers={each: [self.url(each)] for each in self.members},
            directory=home,
            listen_peer_urls=[self.listen(member)],
            **self.settings,
        )
        node = self.nodes[member] = RaftNode(config, machine)
        deliver = node.driver.peers._on_frames

        def cuttable(sender: int, frames: list[dict[str, Any]]) -> None:
            if (sender, member) in self.cut:
                return
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, deliver, sender, frames)
            else:
                deliver(sender, frames)

        node.driver.peers._on_frames = cuttable
        await node.start()
        return node

    async def kill(self, member: int) -> None:
        """Stop without handing leadership on."""
        node = self.nodes.pop(member)

        async def no_hand_on() -> None:
            return None

        node._hand_on = no_hand_on  # type: ignore[method-assign]
        await node.stop()
        self.machines[member].close()

    async def turn(self, node: RaftNode) -> None:
        """Wait until a node has done what was noted in it."""
        await until(lambda: not node._core.has_work)

    def isolate(self, member: int) -> None:
        for other in self.members:
            if other != member:
                self.cut |= {(member, other), (other, member)}

    def heal(self) -> None:
        self.cut.clear()

    async def leader(self) -> RaftNode:
        """Wait until all that run and can talk agree on a leader that has applied its no-op."""

        def agreed() -> RaftNode | None:
            for node in self.nodes.values():
                if node.is_leader and node._core.applied_term == node.term:
                    near = [
                        other
                        for other in self.nodes.values()
                        if (node.member_id, other.member_id) not in self.cut or other is node
                    ]
                    if 2 * len(near) > len(self.members) and all(
                        (other.leader_id, other.term) == (node.member_id, node.term)
                        for other in near
                    ):
                        return node
            return None

        await until(agreed)
        leader = agreed()
        assert leader is not None
        return leader

    async def followers(self) -> list[RaftNode]:
        leader = await self.leader()
        return [node for node in self.nodes.values() if node is not leader]

    async def equal(self) -> list[str]:
        """Wait until all running members have applied the same; that."""
        machines = [self.machines[member] for member in self.nodes]

        def same() -> bool:
            return len({(machine.positions()[0], *machine.payloads) for machine in machines}) == 1

        await until(same)
        return machines[0].payloads


def payload(number: int) -> bytes:
    return b"%d" % number
