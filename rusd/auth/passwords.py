"""bcrypt hashes of passwords.

Both functions take some 50 ms of CPU at the default cost, so callers run them in a thread (bcrypt
releases the interpreter's lock) and before a proposal: apply only stores the hash, and nothing
replicated ever holds a password.

bcrypt reads at most 72 bytes. Go's bcrypt, and with it etcd, refuses to hash a longer password and
compares only the first 72 bytes of one that is given at login; the same holds here.
"""

import re

import bcrypt

from rusd.auth.errors import PasswordTooLong

#: Costs that bcrypt knows; etcd takes `DEFAULT_COST` for any other.
MIN_COST, DEFAULT_COST, MAX_COST = 4, 10, 31
#: Bytes of a password that count.
MAX_LENGTH = 72
_HASH = re.compile(rb"\$2[abxy]?\$(\d\d)\$")


def hash_password(password: str, cost: int) -> bytes:
    """Return the bcrypt hash. Raises PasswordTooLong. A cost out of range is replaced by the
    default, as in etcd.
    """
    raw = password.encode()
    if len(raw) > MAX_LENGTH:
        raise PasswordTooLong
    # Go writes the version 2a; so every etcd can compare what is written here.
    return bcrypt.hashpw(raw, bcrypt.gensalt(effective_cost(cost), prefix=b"2a"))


def check_password(password: str, hashed: bytes) -> bool:
    """Return whether `hashed` was made from this password; False if it is not a bcrypt hash."""
    try:
        return bcrypt.checkpw(password.encode()[:MAX_LENGTH], hashed)
    except ValueError:
        return False


def cost_of(hashed: bytes) -> int | None:
    """Return the cost of a bcrypt hash; None if it is not one."""
    found = _HASH.match(hashed)
    return int(found[1]) if found else None


def effective_cost(cost: int) -> int:
    """Return the cost used for a given `--bcrypt-cost`."""
    return cost if MIN_COST <= cost <= MAX_COST else DEFAULT_COST


def decoy(cost: int) -> bytes:
    """Return a hash to compare with if a user does not exist, so that the response takes equally
    long.
    """
    return hash_password("", cost)
