"""Stand-in for Raft in tests of what lies above it: every proposal is committed at once.

One `Log` may feed several members' machines, so that followers have the leader's state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rusd.base.errors import Refusal
from rusd.base.pending import Pending
from rusd.raft.ports import Entry, Machine, Position, Request, RoleListener
from rusd.state.command import FEATURES

Handler = Callable[[int, bytes], Awaitable[bytes]]


class Log:
    """Commits proposals in order to all nodes that joined it."""

    def __init__(self) -> None:
        self.nodes: dict[int, InstantNode] = {}
        self.leader_id = 0
        self.term = 0
        self.payloads: list[bytes] = []
        #: Entries that are committed and not applied anywhere.
        self.unapplied = 0
        #: Raised by every proposal and read index while set.
        self.failure: type[Refusal] | None = None
        #: While set, read indexes wait for it.
        self.barrier: asyncio.Future[None] | None = None

    def elect(self, member_id: int) -> None:
        """Make a member the leader of a new term; 0 for nobody."""
        self.leader_id = member_id
        self.term += 1 if member_id else 0
        for node in self.nodes.values():
            for listener in node.listeners:
                listener(member_id, self.term, node.member_id == member_id)

    def commit(self, proposer: int, payload: bytes) -> object:
        self.payloads.append(payload)
        answer: object = None
        for node in self.nodes.values():
            index = node.machine.positions()[0].index + 1
            request = Request(payload, node.member_id == proposer)
            (result,) = node.machine.apply([Entry(Position(index, self.term), [request])])
            if node.member_id == proposer:
                answer = result
        return answer


class InstantNode:
    """A member's log with the interface of the Raft node; entries commit at once."""

    def __init__(self, log: Log, member_id: int, machine: Machine) -> None:
        self.log = log
        self.member_id = member_id
        self.machine = machine
        self.listeners: list[RoleListener] = []
        self.handlers: dict[str, Handler] = {}
        self.is_learner = False
        #: What the leader would know of the others: member -> part of the log it holds.
        self.progresses: dict[int, float] = {}
        #: The generation of proposals that all members can apply.
        self.features = FEATURES
        log.nodes[member_id] = self

    def can_apply(self, features: int) -> bool:
        return features <= self.features

    @property
    def leader_id(self) -> int:
        return self.log.leader_id

    @property
    def term(self) -> int:
        return self.log.term

    @property
    def applied_index(self) -> int:
        return self.machine.positions()[0].index

    @property
    def commit_index(self) -> int:
        return self.applied_index + self.log.unapplied

    def propose(self, payload: bytes) -> Pending[Any]:
        answer: Pending[Any] = Pending()
        failure = self.log.failure
        answer.give(failure() if failure else self.log.commit(self.member_id, payload))
        return answer

    def read_index(self) -> Pending[None]:
        answer: Pending[None] = Pending()
        if self.log.failure is not None:
            answer.set_exception(self.log.failure())
        elif self.log.barrier is not None:
            self.log.barrier.add_done_callback(lambda barrier: answer.set_result(barrier.result()))
        else:
            answer.set_result(None)
        return answer

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        async with asyncio.timeout(timeout):
            return await self.log.nodes[member_id].handlers[kind](self.member_id, body)

    def progress(self, member_id: int) -> float | None:
        return self.progresses.get(member_id)

    def serve(self, kind: str, handler: Handler) -> None:
        self.handlers[kind] = handler

    def on_role(self, listener: RoleListener) -> None:
        self.listeners.append(listener)
