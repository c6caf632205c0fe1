"""Users and roles as stored records: etcd's `authpb` messages in the META family.

    auth/enabled      1 byte
    auth/revision     u64, big endian
    auth/user/NAME    authpb.User
    auth/role/NAME    authpb.Role

They share a family with other records so that a release without auth still opens the database.
"""

import struct
from collections.abc import Iterator

from rusd.auth.records import Permission, Role, User
from rusd.auth.store import AuthStore
from rusd.proto import auth_pb2
from rusd.storage import Batch, Engine, Family

_ENABLED = b"auth/enabled"
_REVISION = b"auth/revision"
_USER = b"auth/user/"
_ROLE = b"auth/role/"
_U64 = struct.Struct(">Q")


def load(store: AuthStore, engine: Engine) -> None:
    """Load the stored users and roles into `store`."""
    users = [user_of(value) for _, value in encoded_users(engine)]
    roles = [role_of(value) for _, value in encoded_roles(engine)]
    enabled, revision = encoded_state(engine)
    store.load(users, roles, _U64.unpack(revision)[0] if revision else 0, enabled == b"\1")


def encoded_users(engine: Engine) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and encoded authpb.User of every user, in the order of their names."""
    return _under(_USER, engine)


def encoded_roles(engine: Engine) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and encoded authpb.Role of every role, in the order of their names."""
    return _under(_ROLE, engine)


def encoded_state(engine: Engine) -> tuple[bytes | None, bytes | None]:
    """Return whether auth is on (one byte) and its revision; None where nothing was stored yet."""
    return engine.get(Family.META, _ENABLED), engine.get(Family.META, _REVISION)


def _under(prefix: bytes, engine: Engine) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rest of each key behind `prefix`, and its value."""
    for key, value in engine.scan(Family.META, prefix, _after(prefix)):
        yield key[len(prefix) :], value


class BatchRecords:
    """The `Records` of an apply: changes go into its write batch."""

    __slots__ = ("_batch",)

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def put_user(self, user: User) -> None:
        encoded = user_message(user).SerializeToString(deterministic=True)
        self._batch.put(Family.META, _USER + user.name.encode(), encoded)

    def delete_user(self, name: str) -> None:
        self._batch.delete(Family.META, _USER + name.encode())

    def put_role(self, role: Role) -> None:
        encoded = role_message(role).SerializeToString(deterministic=True)
        self._batch.put(Family.META, _ROLE + role.name.encode(), encoded)

    def delete_role(self, name: str) -> None:
        self._batch.delete(Family.META, _ROLE + name.encode())

    def put_revision(self, revision: int) -> None:
        self._batch.put(Family.META, _REVISION, _U64.pack(revision))

    def put_enabled(self, enabled: bool) -> None:
        self._batch.put(Family.META, _ENABLED, b"\1" if enabled else b"\0")


def user_message(user: User) -> auth_pb2.User:
    """Convert a user to its message."""
    return auth_pb2.User(
        name=user.name.encode(),
        password=user.password,
        roles=user.roles,
        options=auth_pb2.UserAddOptions(no_password=user.no_password),
    )


def user_of(encoded: bytes) -> User:
    """Decode a user."""
    message = auth_pb2.User.FromString(encoded)
    return User(
        message.name.decode(),
        message.password,
        tuple(message.roles),
        message.options.no_password,
    )


def role_message(role: Role) -> auth_pb2.Role:
    """Convert a role to its message."""
    return auth_pb2.Role(
        name=role.name.encode(), keyPermission=map(permission_message, role.permissions)
    )


def role_of(encoded: bytes) -> Role:
    """Decode a role."""
    message = auth_pb2.Role.FromString(encoded)
    return Role(message.name.decode(), tuple(map(permission_of, message.keyPermission)))


def permission_message(permission: Permission) -> auth_pb2.Permission:
    """Convert a permission to its message."""
    message = auth_pb2.Permission(key=permission.key, range_end=permission.range_end)
    message.permType = permission.access  # type: ignore[assignment]
    return message


def permission_of(message: auth_pb2.Permission) -> Permission:
    """Convert a message to a permission."""
    return Permission(int(message.permType), message.key, message.range_end)


def _after(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with `prefix`."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
