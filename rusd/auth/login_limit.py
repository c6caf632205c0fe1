"""Limits how often a wrong password may be tried.

Failures are counted by user and client address together, and by address alone; a login is refused
without looking at its password while one of its two counts is above the limit. A client cannot
raise the count of a user at another address, so an attacker locks out only clients that share its
address. Right passwords cost nothing, and a user that has logged in from an address is not held up
by what other users fail there.

An address is an IPv4 address, the first 64 bits of an IPv6 address (a host has all of them), or ""
for all clients of UNIX sockets.

Counts drain with time (token buckets). Memory is bounded: beyond `MAX_TRACKED` counts the one that
failed longest ago is forgotten, and names are kept as hashes of 16 bytes. Times are seconds of one
monotonic clock, given by the caller.
"""

import hashlib
import ipaddress
from collections import OrderedDict

#: Failures at once, and how many per second are forgiven, for one user from one address.
PAIR_BURST, PAIR_RATE = 10, 0.5
#: The same for all users from one address.
ADDRESS_BURST, ADDRESS_RATE = 50, 5.0
#: Counts that are kept, and pairs that have logged in.
MAX_TRACKED = 10_000
_HOST_PREFIX = 64


def address_of(remote: str) -> str:
    """Return the address by which failures are counted. `remote`: "127.0.0.1:4711", "[::1]:4711",
    or any other text for a UNIX socket.
    """
    host, _, _ = remote.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _HOST_PREFIX), strict=False).network_address)


class LoginLimit:
    """The failed logins of a member. One thread."""

    def __init__(self) -> None:
        self._pairs = _Counts(PAIR_BURST, PAIR_RATE)
        self._addresses = _Counts(ADDRESS_BURST, ADDRESS_RATE)
        #: Pairs that have logged in; the latest last.
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def permits(self, user: str, address: str, now: float) -> bool:
        """Return whether this login may be tried now."""
        pair = _pair(user, address)
        if not self._pairs.has_room(pair, now):
            return False
        return pair in self._known or self._addresses.has_room(address, now)

    def failed(self, user: str, address: str, now: float) -> None:
        """Count a login that was tried and failed."""
        self._pairs.add(_pair(user, address), now)
        self._addresses.add(address, now)

    def succeeded(self, user: str, address: str) -> None:
        """Note that this user has logged in from this address."""
        pair = _pair(user, address)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_TRACKED:
            self._known.popitem(last=False)


def _pair(user: str, address: str) -> bytes:
    text = f"{address} {user}".encode(errors="replace")
    return hashlib.blake2b(text, digest_size=16).digest()


class _Counts:
    """Leaky counts by key."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        #: Key -> (count, time of it); the latest failure last.
        self._counts: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def has_room(self, key: object, now: float) -> bool:
        """Return whether one more failure fits."""
        return self._count(key, now) <= self._burst - 1

    def add(self, key: object, now: float) -> None:
        # (Capped, so that no amount of failures delays the next try for longer than one burst.)
        self._counts[key] = (min(self._count(key, now) + 1, self._burst), now)
        self._counts.move_to_end(key)
        if len(self._counts) > MAX_TRACKED:
            self._counts.popitem(last=False)

    def _count(self, key: object, now: float) -> float:
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) * self._rate)
