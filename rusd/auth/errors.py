"""Refusals of the auth package. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class AuthError(Refusal):
    """Base of all refusals of this package."""


class RootUserMissing(AuthError):
    """Authentication cannot be enabled without the user `root`."""

    reason = "there is no user root"


class RootRoleMissing(AuthError):
    """Authentication cannot be enabled while the user `root` lacks the role `root`."""

    reason = "the user root lacks the role root"


class UserExists(AuthError):
    """A user of that name exists."""

    reason = "the user exists"


class UserNameEmpty(AuthError):
    """The request names no user, or carries no identity while authentication is enabled."""

    reason = "the request names no user"


class UserNotFound(AuthError):
    """No user has that name."""

    reason = "the user does not exist"


class RoleExists(AuthError):
    """A role of that name exists."""

    reason = "the role exists"


class RoleNameEmpty(AuthError):
    """The request names no role."""

    reason = "the request names no role"


class RoleNotFound(AuthError):
    """No role has that name."""

    reason = "the role does not exist"


class RoleNotGranted(AuthError):
    """The user does not have the role that is to be revoked."""

    reason = "the user does not have the role"


class PermissionNotGiven(AuthError):
    """A grant without a permission."""

    reason = "the request holds no permission"


class PermissionNotGranted(AuthError):
    """The role has no permission on exactly that range."""

    reason = "the role does not have the permission"


class AuthenticationFailed(AuthError):
    """Unknown user or wrong password: the two are not told apart."""

    reason = "unknown user or wrong password"


class NoPasswordUser(AuthError):
    """A password was given for a user that has none, or a password hash cannot be decoded."""

    reason = "the user has no password"


class PermissionDenied(AuthError):
    """The identity may not do that."""

    reason = "permission denied"


class AuthNotEnabled(AuthError):
    """Authentication is off."""

    reason = "authentication is not enabled"


class InvalidAuthManagement(AuthError):
    """A change that would lock out `root`, or a permission on an impossible range."""

    reason = "the change is not allowed"


class InvalidToken(AuthError):
    """The token is unknown, expired, forged or malformed."""

    reason = "the token is not valid"


class OldRevision(AuthError):
    """Users or roles changed since the identity was established."""

    reason = "users or roles changed meanwhile"


class SigningImpossible(AuthError):
    """This member has only the public key: it verifies tokens, and issues none."""

    reason = "this member only verifies tokens"


class PasswordTooLong(AuthError):
    """More bytes than bcrypt reads."""

    reason = "the password is longer than 72 bytes"


class InvalidKey(Exception):
    """A key file for tokens is missing, unreadable or does not fit the signing method: the member
    cannot start with it.
    """
