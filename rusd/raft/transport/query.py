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
#: Why there is none: the address is not reached or not trusted, or what it says is no response.
NO_RESPONSE = (*UNREACHABLE, TimeoutError, asyncio.IncompleteReadError, Refused)


async def query(
    url: str, request: bytes, patience: float = TIMEOUT, tls: PeerTls = WITHOUT_TLS
) -> Frame | None:
    """Returns the response to a packed request, or None if no valid one comes in time."""
    try:
        return await ask_once(url, request, patience, tls)
    except NO_RESPONSE:
        return None


async def ask_once(url: str, request: bytes, patience: float, tls: PeerTls) -> Frame:
    """Returns the response to a packed request. Raises one of NO_RESPONSE."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await open_streams(url, tls)
            try:
                writer.write(request)
                size = int.from_bytes(await reader.readexactly(4), "big")
                prefix = await reader.readexactly(min(size, PREFIX))
                if size > limit(prefix, member=False):
                    raise Refused("a response that is too long")
                body = prefix + await reader.readexactly(size - len(prefix))
            finally:
                writer.close()
        response = decode(body, member=False)
    except ssl.SSLError as error:
        report(url, str(error))
        raise
    if isinstance(response, HelloRefused):
        report(url, f"remote error: {response.reason}")
    return response
