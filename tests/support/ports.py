"""Free port numbers for what a test starts itself.

A number from the kernel (bind to port 0, close) may be taken by any outgoing connection of this
machine before the test listens on it; in a run of thousands of tests one in a few runs is. These
numbers lie below the range of outgoing connections, and no other launcher claims them soon.
"""

from collections import deque

from cluster.ports import HOST, Claim

#: Claims are kept for this many later ones: long enough for a test to begin to listen.
_recent: deque[Claim] = deque()
KEPT = 50


def free_ports(count: int) -> list[int]:
    """Return distinct port numbers of 127.0.0.1 that nothing listens on."""
    claim = Claim()
    ports = claim.any(count)
    _recent.append(claim)
    if len(_recent) > KEPT:
        _recent.popleft().release()
    return ports


def free_port() -> int:
    """Return one, as `free_ports`."""
    return free_ports(1)[0]


def free_urls(count: int) -> list[str]:
    """Return `http` URLs of free ports, as `free_ports`."""
    return [f"http://{HOST}:{port}" for port in free_ports(count)]
