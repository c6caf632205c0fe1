"""One question to a peer port, before any hello: one answer, then the end.

    members   {protocol}                          who are the members? (`joining.py`)
    confirm   {protocol, cluster, member, nonce}  is this connection yours? (`belonging.py`)

The answer comes from the address this member dialled, and from nobody else.
"""

import asyncio

from rusd.base.sockets import UNREACHABLE, open_streams
from rusd.raft.transport.frames import PREFIX, Frame, Refused, decode, limit

#: Seconds for everything.
TIMEOUT = 5.0


async def put(url: str, question: bytes, patience: float = TIMEOUT) -> Frame | None:
    """The answer to a packed `question`; None if nobody there gives a proper one in time."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await open_streams(url)
            try:
                writer.write(question)
                size = int.from_bytes(await reader.readexactly(4), "big")
                prefix = await reader.readexactly(min(size, PREFIX))
                if size > limit(prefix, member=False):
                    return None
                body = prefix + await reader.readexactly(size - len(prefix))
            finally:
                writer.close()
        return decode(body, member=False)
    except (*UNREACHABLE, TimeoutError, asyncio.IncompleteReadError, Refused):
        return None
