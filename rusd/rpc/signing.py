"""Proposals that carry the identity of their client, to be checked when they are applied."""

from rusd.rpc.call import Call
from rusd.state.command import sign


def signed(call: Call, payload: bytes) -> bytes:
    """The proposal as a request of the call's identity; unchanged for an anonymous one (and while
    authentication is off), which is refused when it is applied if authentication is on by then.
    """
    return sign(call.identity, payload) if call.identity.revision else payload
