"""Whether an accepted connection is the member's that it says it is, without any secret.

    hello {…, nonce}   ──▶   accepted by this member
    this member dials the peer URL it knows of the claimed member:
    confirm {protocol, cluster, member, nonce}   did you dial `member` with this nonce?
    confirmed {}                                 I did, and the connection is open

A stranger can say any id but cannot answer at another's address, nor make its owner say that it
opened a connection which it did not. Two sides of every connection are thus known: the one that
dialled chose the address, the one that was dialled has asked back. What this does not stop is a
stranger in between, or one that has taken a member's address: that needs TLS between the members.

A hello without a nonce comes from a release before this one, which cannot be asked. Its connection
is refused, and this member dials that one instead (`Peers`), as the older release accepts.
"""

import asyncio
from collections.abc import Sequence

from rusd.raft.transport.frames import PROTOCOL, DialBack, DialBackConfirmed, pack
from rusd.raft.transport.query import put

CONFIRMED = pack(DialBackConfirmed())


async def confirmed(urls: Sequence[str], cluster: int, member: int, nonce: bytes) -> bool:
    """Whether the owner of `urls` says that it dialled `member` (this one) with that nonce."""
    question = pack(DialBack(PROTOCOL, cluster, member, nonce))
    # All at once: one that never answers must not take the time that the connection has.
    asked = [asyncio.ensure_future(put(url, question)) for url in dict.fromkeys(urls)]
    try:
        for each in asyncio.as_completed(asked):
            answer = await each
            if isinstance(answer, DialBackConfirmed):
                return True
        return False
    finally:
        for one in asked:
            one.cancel()
