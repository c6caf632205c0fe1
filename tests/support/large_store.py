"""Stores of very many keys or leases, written through the state machine of a stopped member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rusd.state.machine import StateMachine

#: Changes in one revision, and in one storage write.
BATCH = 2000
PREFIX, PREFIX_END = b"store/", b"store0"


def key(number: int) -> bytes:
    return PREFIX + b"%08d" % number


@contextmanager
def stopped(data_dir: Path) -> Iterator[StateMachine]:
    """The state of the stopped member with this data directory. What is written to it has no log
    entries: a cluster needs the same on all its members.
    """
    machine = StateMachine(data_dir / "member" / "state")
    try:
        yield machine
    finally:
        machine.close()


def put_keys(
    machine: StateMachine,
    count: int,
    *,
    value: bytes = b"v" * 100,
    lease: int = 0,
    batch: int = BATCH,
) -> None:
    """Put `count` keys, `batch` in a revision."""
    for start in range(0, count, batch):
        writer = machine.store.begin()
        txn = writer.txn()
        for number in range(start, min(start + batch, count)):
            txn.put(key(number), value, lease)
            if lease:
                machine.leases.reattach(writer.batch, key(number), 0, lease)
        txn.end()
        writer.commit()


def grant_leases(machine: StateMachine, first: int, count: int, ttl: int) -> None:
    for start in range(first, first + count, BATCH):
        writer = machine.store.begin()
        for lease in range(start, min(start + BATCH, first + count)):
            machine.leases.grant(writer.batch, lease, ttl)
        writer.commit()
