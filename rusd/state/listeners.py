"""Callbacks of the state machine to the rest of the member, after the storage write.

All listeners are bound in one place, by `StateMachine.listen`. Each has a default that does
nothing, so that a test binds only those it needs. All are called on the thread that called `apply`,
`begin` or `restore`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rusd.auth.records import Session
from rusd.mvcc.overlay import Events
from rusd.raft.ports import Membership
from rusd.storage import StorageError


class LeaseListener(Protocol):
    """Receives changes of leases: the lessor, which keeps their deadlines."""

    def granted(self, lease_id: int, ttl: int) -> None:
        """A lease was granted; `ttl` in seconds."""

    def revoked(self, lease_id: int) -> None:
        """A lease and its keys were removed."""

    def restored(self) -> None:
        """A snapshot replaced all leases."""


class _NoLeaseListener:
    def granted(self, lease_id: int, ttl: int) -> None: ...
    def revoked(self, lease_id: int) -> None: ...
    def restored(self) -> None: ...


def _ignore(_: object) -> None: ...


def _ignore_nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Listeners:
    """One callback for each kind of change."""

    #: (revision, events) in ascending order, for every apply that changed keys. A long apply calls
    #: it several times.
    events: Callable[[Sequence[tuple[int, Events]]], None] = _ignore
    #: Compact revision of an applied compaction; superseded versions are still on disk.
    compacted: Callable[[int], None] = _ignore
    #: The membership changed, by an entry or a snapshot.
    membership: Callable[[Membership], None] = _ignore
    leases: LeaseListener = field(default_factory=_NoLeaseListener)
    #: A login was applied (simple tokens).
    session: Callable[[Session], None] = _ignore
    #: Users, roles, permissions, or whether authentication is enabled.
    auth_changed: Callable[[], None] = _ignore_nothing
    #: `restore` is about to close the database: work on it in slices must stop.
    before_restore: Callable[[], None] = _ignore_nothing
    #: `restore` opened another database; the revision may have jumped.
    restored: Callable[[], None] = _ignore_nothing
    #: A read found damage; the member must stop serving.
    damage: Callable[[StorageError], None] = _ignore
