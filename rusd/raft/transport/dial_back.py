"""Confirms, without a shared secret, that an accepted connection is the member's that it names.

    Hello {…, nonce}                             ──▶  accepted by this member, which dials the
                                                      peer URLs it knows of the named member:
    DialBack {protocol, cluster, member, nonce}  ──▶  did you dial `member` with this nonce?
    DialBackConfirmed {}                         ◀──  yes, and the connection is open

An attacker can send any id, but cannot answer at another member's address, nor make its owner
confirm a connection that it did not open. This does not stop an attacker between the members, or
one that has taken a member's address: that needs TLS between the members.

Where nobody can be asked, a certificate is the proof that is left (`Peers`): one that was verified
when the connection was accepted, and is for the host of the member's URLs. That is what dialling
them would have shown. Nobody can be asked if the network gives no way to the address, or if the
other side refuses this member's certificate, or shows none that this one accepts. An address that
answers otherwise, also by refusing the connection, has said no: of two processes of a member the
one that is not at its address stays out.

A hello without a nonce comes from a release before the nonce, which cannot be asked back. Its
connection is refused, and this member dials that one instead (`Peers`), which it accepts.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from enum import Enum

from rusd.base.sockets import answers
from rusd.raft.ports import WITHOUT_TLS, PeerTls
from rusd.raft.transport.frames import PROTOCOL, DialBack, DialBackConfirmed, HelloRefused, pack
from rusd.raft.transport.query import NO_RESPONSE, TIMEOUT, ask_once
from rusd.raft.transport.tls import BAD_CERTIFICATE

CONFIRMED = pack(DialBackConfirmed())
#: Seconds for a TCP connection to an address that has not answered.
PROBE = 1.0

#: Errors of a network that has no way to an address, which some firewalls give too.
_NO_WAY = frozenset(
    (
        *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN),
        *(errno.EACCES, errno.EPERM, errno.ETIMEDOUT),
    )
)


class Answer(Enum):
    """What the owner of some URLs says to having dialled this member."""

    YES = 1
    NO = 2
    #: Nobody could be asked.
    NONE = 3


async def ask_back(
    urls: Sequence[str],
    cluster: int,
    member: int,
    nonce: bytes,
    tls: PeerTls = WITHOUT_TLS,
    within: float = TIMEOUT,
) -> Answer:
    """Ask the owner of `urls` whether it dialled `member` (this one) with that nonce."""
    request = pack(DialBack(PROTOCOL, cluster, member, nonce))
    # All at once: a URL that never answers must not use up the time the connection has.
    urls = list(dict.fromkeys(urls))
    asked = [asyncio.ensure_future(_ask(url, request, within, tls)) for url in urls]
    found = {Answer.NONE}
    try:
        for each in asyncio.as_completed(asked):
            found.add(await each)
            if Answer.YES in found:
                return Answer.YES
    finally:
        for one in asked:
            one.cancel()
    return Answer.NO if Answer.NO in found else Answer.NONE


async def _ask(url: str, request: bytes, within: float, tls: PeerTls) -> Answer:
    try:
        response = await ask_once(url, request, within, tls)
    except NO_RESPONSE as error:
        nobody = _no_way(error) and not (
            # A process that takes its time has its address all the same.
            isinstance(error, TimeoutError) and await answers(url, PROBE, tls.local_address)
        )
        return Answer.NONE if nobody else Answer.NO
    if isinstance(response, DialBackConfirmed):
        return Answer.YES
    unwanted = isinstance(response, HelloRefused) and response.reason == BAD_CERTIFICATE
    return Answer.NONE if unwanted else Answer.NO


def _no_way(error: BaseException) -> bool:
    """Return whether an error tells nothing of the process at the address."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLEOFError)
    if isinstance(error, TimeoutError | socket.gaierror):
        return True
    return isinstance(error, OSError) and error.errno in _NO_WAY
