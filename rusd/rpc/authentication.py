"""The identity of a call, from its token or its client certificate.

A token comes in the metadata `token`, or `authorization` (with or without "Bearer "). A call with
neither has the identity of the common name of its certificate, if `--client-cert-auth` is on; a
call through the JSON gateway never has, since the certificate there is the gateway's. Everything
else is anonymous.

A member that has not applied the login yet does not know its simple token. The log index in the
token says so; the member then waits for a read index, which is behind the login, and looks again.
What else a member has not applied it cannot know: `identify_again` waits in any case, `refresh`
is for a call that has waited.
"""

from typing import Protocol

from rusd.auth.errors import InvalidToken
from rusd.auth.providers import TokenProvider
from rusd.auth.records import ANONYMOUS, Identity
from rusd.auth.store import AuthStore
from rusd.auth.tokens import fingerprint
from rusd.base.logs import LimitedLog, get_logger
from rusd.base.pending import Pending
from rusd.raft.interface import Indexes, ReadIndex
from rusd.rpc.call import Call

log = get_logger(__name__)
invalid_tokens = LimitedLog(log)

_BEARER = "Bearer "


class Node(Indexes, ReadIndex, Protocol):
    """The part of the Raft node that this room uses."""


class Authenticator:
    """Identifies the calls of one member."""

    def __init__(
        self, auth: AuthStore, tokens: TokenProvider, node: Node, *, certificates: bool
    ) -> None:
        """`certificates`: whether a common name identifies a user."""
        self._auth = auth
        self._tokens = tokens
        self._node = node
        self._certificates = certificates

    @property
    def enabled(self) -> bool:
        """Whether authentication is on; without it no call is identified."""
        return self._auth.enabled

    def identify(self, call: Call) -> Identity | Pending[Identity]:
        """Return the identity of a call, or a pending identity. Raises InvalidToken, now or as the
        pending's error.
        """
        token = call.token
        if token is None:
            return self._by_certificate(call)
        token = token.removeprefix(_BEARER)
        try:
            return self._tokens.identify(token, self._auth.revision)
        except InvalidToken:
            if self._tokens.issued_at(token) <= self._node.applied_index:
                raise self._invalid(token, call) from None
        return self.identify_again(call)

    def identify_again(self, call: Call) -> Pending[Identity]:
        """Return the identity of a call after a read index: it reflects all users, roles and logins
        acknowledged before. Anonymous if authentication is off by then.
        """
        found: Pending[Identity] = Pending()

        def look(reached: Pending[None]) -> None:
            if reached.cancelled():
                found.cancel()
            elif (failure := reached.exception()) is not None:
                found.set_exception(failure)
            elif not found.done():
                try:
                    self.refresh(call)
                    found.set_result(call.identity)
                except InvalidToken as error:
                    found.set_exception(error)

        self._node.read_index().add_done_callback(look)
        return found

    def refresh(self, call: Call) -> None:
        """Set the call's identity to its current one. Raises InvalidToken."""
        call.identity = self._now(call) if self._auth.enabled else ANONYMOUS

    def require_user(self, call: Call) -> None:
        """Refuse a call without a current identity if authentication is on. Raises InvalidToken or
        UserNameEmpty.
        """
        self.refresh(call)
        self._auth.check_identified(call.identity)

    def _now(self, call: Call) -> Identity:
        token = call.token
        if token is None:
            return self._by_certificate(call)
        token = token.removeprefix(_BEARER)
        try:
            return self._tokens.identify(token, self._auth.revision)
        except InvalidToken:
            raise self._invalid(token, call) from None

    def _by_certificate(self, call: Call) -> Identity:
        certificate = call.caller.certificate
        if not self._certificates or certificate is None:
            return ANONYMOUS
        if "grpcgateway-accept" in call.metadata:
            return ANONYMOUS
        return Identity(certificate.common_name, self._auth.revision)

    def _invalid(self, token: str, call: Call) -> InvalidToken:
        fields = {"token-fingerprint": fingerprint(token), "remote": call.caller.address}
        invalid_tokens.warning("invalid auth token", fields)
        return InvalidToken()
