"""Locks as etcd's clients make them: an owner key on a lease, whose create revision is a token."""

from __future__ import annotations

from dataclasses import dataclass, field

from rusd.proto import rpc_pb2 as rpc

from ..client import Client, created_at, put_operation
from ..history import LockHold
from .worker import Worker

#: Seconds.
TTL = 3
#: Prefix of keys of locks; the history does not record their writes.
PREFIX = "lock/"


@dataclass
class _Hold:
    lock: str
    lease: int
    token: int
    acquired: float
    left: int
    writes: list[int] = field(default_factory=list)


class Locks(Worker):
    """Acquires one of several locks, writes under it, and releases or abandons it."""

    def __init__(self, client: Client, rate: float, count: int = 2) -> None:
        super().__init__(client, rate)
        self._count = count
        self._hold: _Hold | None = None

    def step(self) -> None:
        hold = self._hold
        if hold is None:
            self._acquire()
        elif hold.left > 0:
            hold.left -= 1
            self._write(hold)
        elif self.client.random.random() < 0.7:
            self._release(hold)
        else:
            self._note(hold, None, 0)  # like a crashed client: the lease will expire

    def finish(self) -> None:
        if self._hold is not None:
            self._note(self._hold, None, 0)

    def _acquire(self) -> None:
        client = self.client
        lock = f"{PREFIX}{client.random.randrange(self._count)}/"
        lease = client.grant(TTL)
        if not lease:
            return
        owner = lock + "owner"
        answer = client.unrecorded_txn(
            rpc.TxnRequest(
                compare=[created_at(owner, 0)],
                success=[put_operation(owner, client.value(), lease)],
            )
        )
        if answer is None or not answer.succeeded:
            client.revoke(lease)
            return
        left = client.random.randrange(1, 8)
        self._hold = _Hold(lock, lease, answer.header.revision, client.clock(), left)

    def _write(self, hold: _Hold) -> None:
        client = self.client
        if client.random.random() < 0.3 and client.keep_alive(hold.lease) == 0:
            self._note(hold, None, 0)
            return
        answer = client.unrecorded_txn(
            rpc.TxnRequest(
                compare=[created_at(hold.lock + "owner", hold.token)],
                success=[put_operation(hold.lock + "data", client.value())],
            )
        )
        if answer is not None and answer.succeeded:
            hold.writes.append(answer.header.revision)
        elif answer is not None:
            self._note(hold, None, 0)

    def _release(self, hold: _Hold) -> None:
        client, released = self.client, self.client.clock()
        owner = hold.lock + "owner"
        delete = rpc.DeleteRangeRequest(key=owner.encode())
        answer = client.unrecorded_txn(
            rpc.TxnRequest(
                compare=[created_at(owner, hold.token)],
                success=[rpc.RequestOp(request_delete_range=delete)],
            )
        )
        done = answer is not None and answer.succeeded
        self._note(hold, released, answer.header.revision if done and answer else 0)
        client.revoke(hold.lease)

    def _note(self, hold: _Hold, released: float | None, released_at: int) -> None:
        self._hold = None
        self.client.history.add(
            LockHold(
                self.client.number,
                hold.lock,
                hold.lease,
                hold.token,
                hold.acquired,
                released,
                tuple(hold.writes),
                released_at,
            )
        )
