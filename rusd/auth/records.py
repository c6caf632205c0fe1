"""Users, roles and permissions as values.

The names and limits are etcd's (`authpb.User`, `authpb.Role`, `authpb.Permission`): role names of a
user are sorted, permissions of a role are sorted by key, and `root` is special as user and as role.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache

#: Name of the user that always may do everything, and of the role that gives this.
ROOT = "root"
#: UTF-8 bytes of the name of a new user or role. etcd's store takes no longer key: an etcd that is
#: asked to add a longer name ends.
MAX_NAME = 32_768


class Access(IntEnum):
    """Access that a permission allows; the numbers are those of `authpb.Permission.Type`."""

    READ = 0
    WRITE = 1
    READWRITE = 2


@dataclass(frozen=True, slots=True)
class Permission:
    """Access to one key (`range_end` empty), to [key, range_end), or from `key` on (`\\0`).

    A number that is no `Access` is kept, as in etcd, and allows nothing.
    """

    access: int
    key: bytes
    range_end: bytes = b""

    @property
    def reads(self) -> bool:
        return self.access in (Access.READ, Access.READWRITE)

    @property
    def writes(self) -> bool:
        """Whether the permission allows writes."""
        return self.access in (Access.WRITE, Access.READWRITE)


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions, sorted by key."""

    name: str
    permissions: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """A user. `password` is a bcrypt hash, empty for a user that may not log in by password."""

    name: str
    password: bytes = field(default=b"", repr=False)
    roles: tuple[str, ...] = ()
    no_password: bool = False

    @property
    def is_root(self) -> bool:
        """Whether the user has the role `root`."""
        return ROOT in self.roles

    def with_roles(self, roles: tuple[str, ...]) -> "User":
        """Return the user with these roles instead, sorted by name."""
        return replace(self, roles=tuple(sorted(roles)))


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller, and the auth revision at which it was identified.

    `revision` 0 stands for a call without token or certificate, as in etcd's request headers.
    """

    user: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """An applied login: each member records its token (simple tokens)."""

    user: str
    #: Random part of the token; empty with JSON Web Tokens.
    prefix: str
    #: Log index of the request.
    index: int

    @property
    def token(self) -> str:
        return f"{self.prefix}.{self.index}"


@lru_cache(maxsize=1024)
def identity_of(user: str, revision: int) -> Identity:
    """Return the identity with these values; cached, since most calls repeat one."""
    return Identity(user, revision)


#: A call without token or certificate.
ANONYMOUS = Identity()
