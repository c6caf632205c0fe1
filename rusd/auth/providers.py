"""Issues tokens, and finds the user of a token: simple tokens or JSON Web Tokens.

Both have the same steps, of which each does those it needs:

    prefix     random part of a new token, replicated with the login ("" for a signed token)
    assign     every member notes a login that was applied
    token      what the client is given
    identify   whose token it is, at which auth revision
    end        tokens of these users are void (None: of all users)
    expire     forget what ended by time; to be called about once a second
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from rusd.auth.errors import AuthenticationFailed, InvalidToken
from rusd.auth.records import Identity, Session, identity_of
from rusd.auth.tokens import SimpleTokens, prefix, token_index

if TYPE_CHECKING:
    from rusd.auth.jwt_tokens import JwtTokens


class TokenProvider(Protocol):
    """Issues and verifies tokens."""

    def prefix(self) -> str:
        """The part of a simple token that its member makes; "" for signed tokens."""

    def assign(self, session: Session) -> None:
        """Note the token of a login that was applied."""

    def token(self, issued: str, identity: Identity) -> str:
        """Return the token of a login. `issued`: the simple token that was applied. Raises
        SigningImpossible.
        """

    def identify(self, token: str, revision: int) -> Identity:
        """Return the identity of a token. `revision`: the current auth revision. Raises
        InvalidToken.
        """

    def issued_at(self, token: str) -> int:
        """Return the log index that a member must have applied to know the token; 0 if it needs
        none.
        """

    def end(self, users: Iterable[str] | None) -> None:
        """End the tokens of these users; None: of all."""

    def expire(self) -> None:
        """Forget expired tokens."""


class SimpleProvider:
    """Tokens in the memory of every member; they carry the auth revision of their use."""

    def __init__(self, ttl: float, clock: Callable[[], float]) -> None:
        """`ttl` in seconds; `clock` gives monotonic seconds."""
        self._tokens = SimpleTokens(ttl)
        self._clock = clock

    def prefix(self) -> str:
        return prefix()

    def assign(self, session: Session) -> None:
        self._tokens.assign(session, self._clock())

    def token(self, issued: str, identity: Identity) -> str:
        return issued

    def identify(self, token: str, revision: int) -> Identity:
        user = self._tokens.identify(token, self._clock())
        if user is None:
            raise InvalidToken
        return identity_of(user, revision)

    def issued_at(self, token: str) -> int:
        return token_index(token) or 0

    def end(self, users: Iterable[str] | None) -> None:
        self._tokens.end(users)

    def expire(self) -> None:
        self._tokens.expire(self._clock())


class JwtProvider:
    """Signed tokens; they carry the auth revision of their issue, and end by time alone."""

    def __init__(self, tokens: JwtTokens, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch."""
        self._tokens = tokens
        self._clock = clock

    def prefix(self) -> str:
        return ""

    def assign(self, session: Session) -> None: ...

    def token(self, issued: str, identity: Identity) -> str:
        return self._tokens.issue(identity, self._clock())

    def identify(self, token: str, revision: int) -> Identity:
        return self._tokens.identify(token, self._clock())

    def issued_at(self, token: str) -> int:
        return 0

    def end(self, users: Iterable[str] | None) -> None: ...
    def expire(self) -> None: ...


class NoTokens:
    """An empty `--auth-token`: no token is issued; certificates identify users."""

    def prefix(self) -> str:
        return ""

    def assign(self, session: Session) -> None: ...

    def token(self, issued: str, identity: Identity) -> str:
        raise AuthenticationFailed

    def identify(self, token: str, revision: int) -> Identity:
        raise InvalidToken

    def issued_at(self, token: str) -> int:
        return 0

    def end(self, users: Iterable[str] | None) -> None: ...
    def expire(self) -> None: ...
