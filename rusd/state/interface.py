"""The parts of `StateMachine` that rooms above use, as small protocols.

A component names in its `Machine` the ones it needs, and no more: its tests then need a double of
just these, and a reader sees which records it reads.
"""

from typing import Protocol

from rusd.auth.store import AuthStore
from rusd.mvcc.store import Store
from rusd.state.alarms import Alarms
from rusd.state.leases import Leases
from rusd.state.members import Members
from rusd.state.permissions import Permissions
from rusd.storage.engine import Engine


class WithKeys(Protocol):
    """The keys and their history."""

    @property
    def store(self) -> Store:
        """The MVCC store."""


class WithLeases(Protocol):
    """The leases."""

    @property
    def leases(self) -> Leases:
        """All leases, and the keys attached to them."""


class WithUsers(Protocol):
    """Users and roles."""

    @property
    def auth(self) -> AuthStore:
        """Users, roles and whether authentication is on."""


class WithPermissions(WithUsers, Protocol):
    """Users, and what they may do."""

    @property
    def permissions(self) -> Permissions:
        """The permissions that a request needs."""


class WithMembers(Protocol):
    """The members of the cluster."""

    @property
    def members(self) -> Members:
        """Voters, learners and removed members."""


class WithAlarms(Protocol):
    """The alarms."""

    @property
    def alarms(self) -> Alarms:
        """All alarms that are raised."""


class WithDatabase(Protocol):
    """The database on disk."""

    @property
    def engine(self) -> Engine:
        """The open database."""

    @property
    def size(self) -> int:
        """Bytes that the quota counts."""

    @property
    def size_in_use(self) -> int:
        """Bytes that a defragmentation would leave."""
