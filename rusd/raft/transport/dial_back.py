"""Confirms, without a shared secret, that an accepted connection is the member's that it names.

    Hello {…, nonce}                             ──▶  accepted by this member, which dials the
                                                      peer URLs it knows of the named member:
    DialBack {protocol, cluster, member, nonce}  ──▶  did you dial `member` with this nonce?
    DialBackConfirmed {}                         ◀──  yes, and the connection is open

An attacker can send any id, but cannot answer at another member's address, nor make its owner
confirm a connection that it did not open. This does not stop an attacker between the members, or
one that has taken a member's address: that needs TLS between the members.

A hello without a nonce comes from a release before the nonce, which cannot be asked back. Its
connection is refused, and this member dials that one instead (`Peers`), which it accepts.
"""

import asyncio
from collections.abc import Sequence

from rusd.raft.ports import WITHOUT_TLS, PeerTls
from rusd.raft.transport.frames import PROTOCOL, DialBack, DialBackConfirmed, pack
from rusd.raft.transport.query import query

CONFIRMED = pack(DialBackConfirmed())


async def confirmed(
    urls: Sequence[str], cluster: int, member: int, nonce: bytes, tls: PeerTls = WITHOUT_TLS
) -> bool:
    """Return whether the owner of `urls` confirms that it dialled this `member` with `nonce`."""
    request = pack(DialBack(PROTOCOL, cluster, member, nonce))
    # All at once: a URL that never answers must not use up the time the connection has.
    asked = [asyncio.ensure_future(query(url, request, tls=tls)) for url in dict.fromkeys(urls)]
    try:
        for each in asyncio.as_completed(asked):
            answer = await each
            if isinstance(answer, DialBackConfirmed):
                return True
        return False
    finally:
        for one in asked:
            one.cancel()
