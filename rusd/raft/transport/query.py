"""A single request to a peer port, in place of a hello; the connection ends after one response.

    MembersRequest   the member list (`member_query.py`)
    DialBack         whether a connection is the address's own (`dial_back.py`)

The response is that of the dialled address.
"""

import asyncio
import ssl

from rusd.base.sockets import UNREACHABLE
from rusd.raft.ports import WITHOUT_TLS, PeerTls
from rusd.raft.transport.frames import PREFIX, Frame, HelloRefused, Refused, decode, limit
from rusd.raft.transport.tls import open_streams, report

#: Seconds for everything.
TIMEOUT = 5.0


async def query(
    url: str, request: bytes, patience: float = TIMEOUT, tls: PeerTls = WITHOUT_TLS
) -> Frame | None:
    """Returns the response to a packed request, or None if no valid one comes in time."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await open_streams(url, tls)
            try:
                writer.write(request)
                size = int.from_bytes(await reader.readexactly(4), "big")
                prefix = await reader.readexactly(min(size, PREFIX))
                if size > limit(prefix, member=False):
                    return None
                body = prefix + await reader.readexactly(size - len(prefix))
            finally:
                writer.close()
        response = decode(body, member=False)
        if isinstance(response, HelloRefused):
            report(url, f"remote error: {response.reason}")
        return response
    except ssl.SSLError as error:
        report(url, str(error))
        return None
    except (*UNREACHABLE, TimeoutError, asyncio.IncompleteReadError, Refused):
        return None
