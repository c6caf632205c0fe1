"""How often a wrong password may be tried.

Failures are counted by user and client address together, and by address alone; a login is refused
without looking at its password while one of its two counts is above the limit. Nobody else can
raise the count of a user at another address, so an attacker locks out only those that share its
address. Right passwords cost nothing.

Counts drain with time (token buckets). Memory is bounded: beyond `MAX_TRACKED` counts the one that
failed longest ago is forgotten. Times are seconds of one monotonic clock, given by the caller.
"""

from collections import OrderedDict

#: Failures at once, and how many per second are forgiven, for one user from one address.
PAIR_BURST, PAIR_RATE = 10, 0.5
#: The same for all users from one address.
ADDRESS_BURST, ADDRESS_RATE = 50, 5.0
#: Counts that are kept.
MAX_TRACKED = 10_000


class LoginLimit:
    """The failed logins of a member. One thread."""

    def __init__(self) -> None:
        self._pairs = _Counts(PAIR_BURST, PAIR_RATE)
        self._addresses = _Counts(ADDRESS_BURST, ADDRESS_RATE)

    def permits(self, user: str, address: str, now: float) -> bool:
        """Whether this login may be tried now."""
        return self._pairs.below((user, address), now) and self._addresses.below(address, now)

    def failed(self, user: str, address: str, now: float) -> None:
        """Count a login that was tried and failed."""
        self._pairs.add((user, address), now)
        self._addresses.add(address, now)


class _Counts:
    """Leaky counts by key."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        #: Key -> (count, time of it); the latest failure last.
        self._counts: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def below(self, key: object, now: float) -> bool:
        return self._count(key, now) < self._burst

    def add(self, key: object, now: float) -> None:
        # (Capped, so that no amount of failures delays the next try for longer than one burst.)
        self._counts[key] = (min(self._count(key, now) + 1, self._burst), now)
        self._counts.move_to_end(key)
        if len(self._counts) > MAX_TRACKED:
            self._counts.popitem(last=False)

    def _count(self, key: object, now: float) -> float:
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) * self._rate)
