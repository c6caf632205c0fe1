"""Refusals of the auth package. `rpc` maps each class to etcd's gRPC code and text."""


class AuthError(Exception):
    """Base of all refusals of this package."""


class RootUserMissing(AuthError):
    """Authentication cannot be enabled without the user `root`."""


class RootRoleMissing(AuthError):
    """Authentication cannot be enabled while the user `root` lacks the role `root`."""


class UserExists(AuthError):
    """A user of that name exists."""


class UserNameEmpty(AuthError):
    """The request names no user, or carries no identity while authentication is enabled."""


class UserNotFound(AuthError):
    """No user has that name."""


class RoleExists(AuthError):
    """A role of that name exists."""


class RoleNameEmpty(AuthError):
    """The request names no role."""


class RoleNotFound(AuthError):
    """No role has that name."""


class RoleNotGranted(AuthError):
    """The user does not have the role that is to be revoked."""


class PermissionNotGiven(AuthError):
    """A grant without a permission."""


class PermissionNotGranted(AuthError):
    """The role has no permission on exactly that range."""


class AuthenticationFailed(AuthError):
    """Unknown user or wrong password: the two are not told apart."""


class NoPasswordUser(AuthError):
    """A password was given for a user that has none, or a password hash cannot be decoded."""


class PermissionDenied(AuthError):
    """The identity may not do that."""


class AuthNotEnabled(AuthError):
    """Authentication is off."""


class InvalidAuthManagement(AuthError):
    """A change that would lock out `root`, or a permission on an impossible range."""


class InvalidToken(AuthError):
    """The token is unknown, expired, forged or malformed."""


class OldRevision(AuthError):
    """Users or roles changed since the identity was established."""


class SigningImpossible(AuthError):
    """This member has only the public key: it verifies tokens, and issues none."""


class InvalidKey(AuthError):
    """A key file for tokens is missing, unreadable or does not fit the signing method."""
