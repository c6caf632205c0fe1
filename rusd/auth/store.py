"""The replicated auth data of a member, and the permission checks over it.

Every method that changes something is called once per committed request, in log order, and is
deterministic: what it needs (a password hash, say) is in the request. It raises an `AuthError`
without having changed anything, or changes the data in memory and writes the records that changed
through the `Records` port, with which the caller stores them atomically.

The auth revision counts changes from 1 on. Enabling does not count; disabling does. A token or
certificate is turned into an `Identity` at a certain revision; one that is older than the data is
refused (`OldRevision`), so that a permission that was taken away cannot be used by a request that
was already under way.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from rusd.auth import errors
from rusd.auth.key_ranges import KeyRanges, is_valid
from rusd.auth.passwords import cost_of
from rusd.auth.records import ROOT, Access, Identity, Permission, Role, User

#: bcrypt cost (about a second) up to which a user's hash stands in for an unknown user's: one that
#: `root` stored with an extreme cost must not let a client occupy the threads for passwords.
MAX_DECOY_COST = 14


class Records(Protocol):
    """Destination of changed records: the storage write of the current apply."""

    def put_user(self, user: User) -> None:
        """Add or replace a user."""

    def delete_user(self, name: str) -> None:
        """Remove a user."""

    def put_role(self, role: Role) -> None:
        """Add or replace a role."""

    def delete_role(self, name: str) -> None:
        """Remove a role."""

    def put_revision(self, revision: int) -> None:
        """Set the auth revision."""

    def put_enabled(self, enabled: bool) -> None:
        """Set whether authentication is on."""


class _Merged:
    """Permissions of one user: everything, or the joined ranges of its roles."""

    __slots__ = ("is_root", "readable", "writable")

    def __init__(self, is_root: bool, permissions: Iterable[Permission]) -> None:
        self.is_root = is_root
        known = list(permissions)
        self.readable = KeyRanges(each for each in known if each.reads)
        self.writable = KeyRanges(each for each in known if each.writes)


class AuthStore:
    """Users, roles, and whether authentication is enabled. One thread."""

    def __init__(self) -> None:
        self.enabled = False
        #: 1 in a new cluster, as in etcd.
        self.revision = 1
        self._users: dict[str, User] = {}
        self._roles: dict[str, Role] = {}
        #: Per user, made at the first check after a change.
        self._merged: dict[str, _Merged] = {}
        #: Hashes of users; None after a change (see `decoy`).
        self._decoys: list[bytes] | None = None
        #: Called after each applied change, with the users whose tokens end (None: all of them).
        self._listeners: list[Callable[[frozenset[str] | None], None]] = []

    def load(
        self, users: Iterable[User], roles: Iterable[Role], revision: int, enabled: bool
    ) -> None:
        """Replace the data by the stored data: at start, and after a snapshot replaced the
        state.
        """
        self._users = {user.name: user for user in users}
        self._roles = {role.name: role for role in roles}
        self.revision = max(revision, 1)
        self.enabled = enabled
        self._merged.clear()
        self._decoys = None
        self._tell(None)

    def on_change(self, listener: Callable[[frozenset[str] | None], None]) -> None:
        """Call `listener` after every change, with the names of users whose tokens are void now
        (None: all tokens are void).
        """
        self._listeners.append(listener)

    # Questions

    def user(self, name: str) -> User:
        """Return a user. Raises UserNotFound."""
        user = self._users.get(name)
        if user is None:
            raise errors.UserNotFound
        return user

    def role(self, name: str) -> Role:
        """Return a role. Raises RoleNotFound. The role `root` shows access to all keys, as in
        etcd.
        """
        role = self._roles.get(name)
        if role is None:
            raise errors.RoleNotFound
        if name == ROOT:
            return Role(ROOT, (Permission(Access.READWRITE, b"", b"\0"),))
        return role

    def users(self) -> list[str]:
        """Names, in byte order."""
        return sorted(self._users)

    def roles(self) -> list[str]:
        """Names, in byte order."""
        return sorted(self._roles)

    def has_role(self, user: str, role: str) -> bool:
        """Return whether the user exists and has the role."""
        known = self._users.get(user)
        return known is not None and role in known.roles

    def login(self, name: str) -> User:
        """Return the user for a login by password.

        Raises AuthNotEnabled, AuthenticationFailed (unknown) or NoPasswordUser.
        """
        if not self.enabled:
            raise errors.AuthNotEnabled
        user = self._users.get(name)
        if user is None:
            raise errors.AuthenticationFailed
        if user.no_password:
            raise errors.NoPasswordUser
        return user

    def decoy(self, name: str) -> bytes | None:
        """Return a hash for comparing the password of an unknown user: the hash of another user,
        always the same for one name. The duration of a response then reveals nothing, even if
        hashes differ in cost. None if no user has a hash of at most MAX_DECOY_COST.
        """
        if self._decoys is None:
            hashes = (user.password for user in self._users.values())
            self._decoys = [each for each in hashes if _is_decoy(each)]
        # (Python's hash of a text differs from process to process.)
        return self._decoys[hash(name) % len(self._decoys)] if self._decoys else None

    # Permission checks

    def check_identified(self, identity: Identity) -> None:
        """Raise UserNameEmpty unless the call carries a token or certificate, or auth is off."""
        if self.enabled and not identity.revision:
            raise errors.UserNameEmpty

    def check_root(self, identity: Identity) -> None:
        """Raise UserNameEmpty, UserNotFound or PermissionDenied unless the user has the role
        `root`, or auth is off.
        """
        if not self.enabled:
            return
        if not identity.user:
            raise errors.UserNameEmpty
        if not self.user(identity.user).is_root:
            raise errors.PermissionDenied

    def is_root(self, identity: Identity) -> bool:
        """Return whether `check_root` would pass."""
        if not self.enabled:
            return True
        user = self._users.get(identity.user)
        return user is not None and user.is_root

    def check_read(self, identity: Identity, key: bytes, range_end: bytes = b"") -> None:
        """Raise unless the identity may read that range (see `_check`)."""
        if self.enabled:
            self._check(identity, Access.READ, key, range_end)

    def check_unchanged(self, revision: int) -> None:
        """Raise OldRevision if users or roles changed since the auth revision was `revision`."""
        if self.enabled and revision != self.revision:
            raise errors.OldRevision

    def may_read(self, user: str, key: bytes, range_end: bytes) -> bool:
        """Return whether a user may read that range now, at the current auth revision."""
        try:
            self.check_read(Identity(user, self.revision), key, range_end)
        except errors.AuthError:
            return False
        return True

    def check_write(self, identity: Identity, key: bytes, range_end: bytes = b"") -> None:
        """Raise unless the identity may write that range (see `_check`)."""
        if self.enabled:
            self._check(identity, Access.WRITE, key, range_end)

    def check_current(self, identity: Identity) -> None:
        """Raise OldRevision if users or roles changed since `identity` was established: the second
        check of a read, after its data was read.
        """
        if identity.revision and identity.revision != self.revision:
            raise errors.OldRevision

    def _check(self, identity: Identity, access: Access, key: bytes, range_end: bytes) -> None:
        """Raises, in etcd's order, UserNameEmpty, OldRevision or PermissionDenied."""
        if not identity.revision:
            raise errors.UserNameEmpty
        if identity.revision < self.revision:
            raise errors.OldRevision
        merged = self._merged.get(identity.user) or self._merge(identity.user)
        if merged.is_root:
            return
        ranges = merged.writable if access is Access.WRITE else merged.readable
        if not ranges.covers(key, range_end):
            raise errors.PermissionDenied

    def _merge(self, name: str) -> _Merged:
        """Return the merged permissions of a user. Raises PermissionDenied for an unknown user."""
        user = self._users.get(name)
        if user is None:
            raise errors.PermissionDenied
        roles = (self._roles[name] for name in user.roles if name in self._roles)
        permissions = (permission for role in roles for permission in role.permissions)
        merged = self._merged[user.name] = _Merged(user.is_root, permissions)
        return merged

    # Changes

    def enable(self, records: Records) -> None:
        """Enable authentication; idempotent. Raises RootUserMissing or RootRoleMissing."""
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise errors.RootUserMissing
        if not root.is_root:
            raise errors.RootRoleMissing
        self.enabled = True
        records.put_enabled(True)
        self._merged.clear()
        self._tell(frozenset())

    def disable(self, records: Records) -> None:
        """Disable authentication and end every token; idempotent."""
        if not self.enabled:
            return
        self.enabled = False
        records.put_enabled(False)
        self._changed(records, None)

    def check_new_user(self, name: str) -> None:
        """Raises UserNameEmpty or UserExists."""
        if not name:
            raise errors.UserNameEmpty
        if name in self._users:
            raise errors.UserExists

    def add_user(self, records: Records, user: User) -> None:
        """Add a user. Raises as `check_new_user`."""
        self.check_new_user(user.name)
        self._put_user(records, user)
        self._changed(records)

    def delete_user(self, records: Records, name: str) -> None:
        """Delete a user and end its tokens. Raises InvalidAuthManagement (root, while enabled) or
        UserNotFound.
        """
        if self.enabled and name == ROOT:
            raise errors.InvalidAuthManagement
        self.user(name)
        del self._users[name]
        records.delete_user(name)
        self._changed(records, frozenset({name}))

    def change_password(self, records: Records, name: str, password: bytes) -> None:
        """Set the bcrypt hash `password` and end the user's tokens. Raises UserNotFound.

        A user without a password stays without one.
        """
        user = self.user(name)
        kept = b"" if user.no_password else password
        self._put_user(records, User(name, kept, user.roles, user.no_password))
        self._changed(records, frozenset({name}))

    def grant_role(self, records: Records, name: str, role: str) -> None:
        """Grant a role to a user; no effect if it is granted already.

        Raises UserNotFound or RoleNotFound (the role `root` need not exist).
        """
        user = self.user(name)
        if role != ROOT and role not in self._roles:
            raise errors.RoleNotFound
        if role in user.roles:
            return
        self._put_user(records, user.with_roles((*user.roles, role)))
        self._changed(records)

    def revoke_role(self, records: Records, name: str, role: str) -> None:
        """Revoke a role. Raises InvalidAuthManagement (root from root, while enabled), UserNotFound
        or RoleNotGranted.
        """
        if self.enabled and name == role == ROOT:
            raise errors.InvalidAuthManagement
        user = self.user(name)
        if role not in user.roles:
            raise errors.RoleNotGranted
        self._put_user(records, user.with_roles(_without(user.roles, role)))
        self._changed(records)

    def add_role(self, records: Records, name: str) -> None:
        """Add a role. Raises RoleNameEmpty or RoleExists."""
        if not name:
            raise errors.RoleNameEmpty
        if name in self._roles:
            raise errors.RoleExists
        self._put_role(records, Role(name))
        self._changed(records)

    def delete_role(self, records: Records, name: str) -> None:
        """Delete a role and revoke it from all users. Raises InvalidAuthManagement (root, while
        enabled) or RoleNotFound.
        """
        if self.enabled and name == ROOT:
            raise errors.InvalidAuthManagement
        self._require_role(name)
        del self._roles[name]
        records.delete_role(name)
        for user in [user for user in self._users.values() if name in user.roles]:
            self._put_user(records, user.with_roles(_without(user.roles, name)))
        self._changed(records)

    def grant_permission(self, records: Records, name: str, permission: Permission | None) -> None:
        """Replace the access of a permission on the same range, else add one.

        Raises PermissionNotGiven, InvalidAuthManagement (an impossible range) or RoleNotFound.
        """
        if permission is None:
            raise errors.PermissionNotGiven
        if not is_valid(permission.key, permission.range_end):
            raise errors.InvalidAuthManagement
        role = self._require_role(name)
        if any(_same_range(each, permission) for each in role.permissions):
            # etcd finds the older one only if it is the first of its key, and else keeps both.
            kept = [
                permission if _same_range(each, permission) else each for each in role.permissions
            ]
        else:
            # (Stable: among equal keys the newest comes last, as in etcd.)
            kept = sorted((*role.permissions, permission), key=lambda each: each.key)
        self._put_role(records, Role(name, tuple(kept)))
        self._changed(records)

    def revoke_permission(self, records: Records, name: str, key: bytes, range_end: bytes) -> None:
        """Revoke the permission on exactly this range. Raises RoleNotFound or
        PermissionNotGranted.
        """
        role = self._require_role(name)
        given = Permission(Access.READ, key, range_end)
        kept = tuple(each for each in role.permissions if not _same_range(each, given))
        if len(kept) == len(role.permissions):
            raise errors.PermissionNotGranted
        self._put_role(records, Role(name, kept))
        self._changed(records)

    def _require_role(self, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            raise errors.RoleNotFound
        return role

    def _put_user(self, records: Records, user: User) -> None:
        self._users[user.name] = user
        records.put_user(user)

    def _put_role(self, records: Records, role: Role) -> None:
        self._roles[role.name] = role
        records.put_role(role)

    def _changed(self, records: Records, ended: frozenset[str] | None = frozenset()) -> None:
        self.revision += 1
        records.put_revision(self.revision)
        self._merged.clear()
        self._decoys = None
        self._tell(ended)

    def _tell(self, ended: frozenset[str] | None) -> None:
        for listener in self._listeners:
            listener(ended)


def _is_decoy(hashed: bytes) -> bool:
    cost = cost_of(hashed)
    return cost is not None and cost <= MAX_DECOY_COST


def _without(roles: tuple[str, ...], role: str) -> tuple[str, ...]:
    return tuple(each for each in roles if each != role)


def _same_range(one: Permission, other: Permission) -> bool:
    return (one.key, one.range_end) == (other.key, other.range_end)
