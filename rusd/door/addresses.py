"""From a listen URL to the addresses to bind, checked one by one.

A name such as `localhost` stands for several addresses, and gRPC libraries are content if one of
them can be had. Two members could then share a port without a word, each on its own half of
`localhost`; so every address is tried here first, and one that is taken is an error.
"""

import errno
import socket
from typing import Any
from urllib.parse import urlsplit

#: What a URL without a host means: every address, of both families where there are two.
_ANY = "0.0.0.0"
#: An address family or an address that this machine does not have is no conflict.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def bindable(url: str) -> list[str]:
    """The addresses of `url` as gRPC names them ("127.0.0.1:2379", "[::1]:2379", "unix:/path").

    Resolves names, so it may block. OSError, with the URL in its text, if an address is taken, the
    name is unknown, or this machine has none of its addresses.
    """
    parts = urlsplit(url)
    if parts.scheme in ("unix", "unixs"):
        return [f"unix:{parts.netloc}{parts.path}"]
    host = parts.hostname or _ANY
    try:
        found = socket.getaddrinfo(host, parts.port, type=socket.SOCK_STREAM)
        addresses = [_tried(family, address) for family, _, _, _, address in found]
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {url}: {error.strerror}") from error
    usable = [address for address in dict.fromkeys(addresses) if address]
    if not usable:
        raise OSError(errno.EADDRNOTAVAIL, f"cannot listen on {url}: no such address here")
    return usable


def _tried(family: int, address: tuple[Any, ...]) -> str:
    """The address, once it could be bound; "" if this machine does not have it."""
    host, port = address[:2]
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do, so that connections of a member that has just stopped do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno in _ABSENT:
            return ""
        raise
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
