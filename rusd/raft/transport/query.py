"""One request to a peer port in place of a hello: one response, then the end.

    MembersRequest   the member list (`member_query.py`)
    DialBack         whether a connection is the address's own (`dial_back.py`)

The response is that of the dialled address.
"""

import asyncio

from rusd.base.sockets import UNREACHABLE, open_streams
from rusd.raft.transport.frames import PREFIX, Frame, Refused, decode, limit

#: Seconds for everything.
TIMEOUT = 5.0


async def query(url: str, request: bytes, patience: float = TIMEOUT) -> Frame | None:
    """Returns the response to a packed request, or None if no valid one comes in time."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await open_streams(url)
            try:
                writer.write(request)
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
