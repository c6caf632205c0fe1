"""Proposals with the identity of their client, which apply checks."""

from rusd.rpc.call import Call
from rusd.state.command import sign


def signed(call: Call, payload: bytes) -> bytes:
    """Return the proposal with the call's identity; unchanged for an anonymous one (and while
    authentication is off), which apply refuses if authentication is on by then.
    """
    return sign(call.identity, payload) if call.identity.revision else payload
