"""A `Records` that keeps what was written, as the storage would."""

from rusd.auth.records import Role, User
from rusd.auth.store import AuthStore


class Recorded:
    """The stored records of one member."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.revision = 1
        self.enabled = False

    def put_user(self, user: User) -> None:
        self.users[user.name] = user

    def delete_user(self, name: str) -> None:
        del self.users[name]

    def put_role(self, role: Role) -> None:
        self.roles[role.name] = role

    def delete_role(self, name: str) -> None:
        del self.roles[name]

    def put_revision(self, revision: int) -> None:
        self.revision = revision

    def put_enabled(self, enabled: bool) -> None:
        self.enabled = enabled

    def restarted(self) -> AuthStore:
        """Return the store of a member that starts from these records."""
        store = AuthStore()
        store.load(self.users.values(), self.roles.values(), self.revision, self.enabled)
        return store


def enabled_store(*users: User) -> tuple[AuthStore, Recorded]:
    """Return a store with `root`, the given users, and authentication on."""
    store, records = AuthStore(), Recorded()
    for user in (User("root", b"hash", ("root",)), *users):
        store.add_user(records, user)
    store.enable(records)
    return store, records
