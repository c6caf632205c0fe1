"""Simple tokens: random names of sessions that every member keeps in memory.

    issue    `prefix()` at the member that was asked; replicated with the user's name
    assign   on every member, when the request is applied: token = prefix "." log index
    identify any member: whose token is it? Each use starts its time anew

A token ends `ttl` seconds after its last use on that member, when its user is deleted or changes
its password, when authentication is disabled, and when the member restarts. Clients then
authenticate again. The log index in a token tells a member that is behind to wait before it calls
the token invalid.

Tokens are looked up by a keyed hash with a secret of this process: how long a lookup takes says
nothing about the tokens that exist. The hashes of tokens in use are remembered for a second, found
by the whole token: a guess that is right in part is not among them. Times are seconds of one
monotonic clock, given by the caller.
"""

import hashlib
import secrets
import string
from collections.abc import Iterable
from functools import lru_cache

from rusd.auth.records import Session

#: Letters of the random part, as in etcd.
PREFIX_LENGTH = 16
#: Seconds a token lives without being used, if `--auth-token-ttl` is 0.
DEFAULT_TTL = 300.0
#: Hashes that are remembered, of tokens up to this length.
REMEMBERED, LONGEST = 1024, 64
#: A log index in a token has at most so many digits (64 bits).
_INDEX_DIGITS = 20


def prefix() -> str:
    """Return the random part of a new token."""
    return "".join(secrets.choice(string.ascii_letters) for _ in range(PREFIX_LENGTH))


def token_index(token: str) -> int | None:
    """Return the log index that issued the token; None if it is not a simple token."""
    _, dot, digits = token.partition(".")
    if not dot or not digits.isascii() or not digits.isdigit() or len(digits) > _INDEX_DIGITS:
        return None
    index = int(digits)
    return index if index < 1 << 64 else None


def fingerprint(token: str) -> str:
    """Return twelve hexadecimal digits that identify a token in log lines."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()[:12]


class SimpleTokens:
    """The tokens of all sessions. One thread."""

    def __init__(self, ttl: float = DEFAULT_TTL) -> None:
        self._ttl = ttl if ttl > 0 else DEFAULT_TTL
        self._secret = secrets.token_bytes(32)
        #: Keyed hash -> (user, time at which it ends).
        self._sessions: dict[bytes, tuple[str, float]] = {}
        self._known_hash = lru_cache(maxsize=REMEMBERED)(self._hash)

    def __len__(self) -> int:
        return len(self._sessions)

    def assign(self, session: Session, now: float) -> None:
        """Note the token of a new session."""
        self._sessions[self._hash(session.token)] = (session.user, now + self._ttl)

    def identify(self, token: str, now: float) -> str | None:
        """Return the user of a token; None if it is unknown or expired."""
        key = self._known_hash(token) if len(token) <= LONGEST else self._hash(token)
        session = self._sessions.get(key)
        if session is None or session[1] < now:
            return None
        self._sessions[key] = (session[0], now + self._ttl)
        return session[0]

    def expire(self, now: float) -> None:
        """Forget expired tokens; to be called about once a second."""
        self._known_hash.cache_clear()
        for key in [key for key, (_, end) in self._sessions.items() if end < now]:
            del self._sessions[key]

    def end(self, users: Iterable[str] | None) -> None:
        """End all tokens of these users; None: of all users."""
        if users is None:
            self._sessions.clear()
            return
        gone = frozenset(users)
        if gone:
            for key in [key for key, (user, _) in self._sessions.items() if user in gone]:
                del self._sessions[key]

    def _hash(self, token: str) -> bytes:
        raw = token.encode(errors="replace")
        return hashlib.blake2b(raw, digest_size=16, key=self._secret).digest()
