"""How much a peer may ask for that costs us and brings nobody anything (a token bucket).

Resets, empty frames, window updates, priorities and SETTINGS are all legal, and none of them has a
limit in the standard; a peer that sends nothing else only burns our CPU (rapid reset,
CVE-2023-44487, and its relatives). Honest work refills the bucket too, so that a busy client is
never taken for a hostile one.
"""


class Allowance:
    """`burst` tokens, refilled with `per_second`."""

    __slots__ = ("_burst", "_per_second", "_seen", "tokens")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._seen = now
        self.tokens = burst

    def earn(self, tokens: float = 1) -> None:
        """Work was done that the peer wanted."""
        if self.tokens < self._burst:
            self.tokens += tokens

    def spend(self, now: float, tokens: float = 1) -> bool:
        """Take tokens; False if the peer has too few left."""
        if self.tokens < tokens:
            self.tokens = min(self._burst, self.tokens + (now - self._seen) * self._per_second)
            self._seen = now
        self.tokens -= tokens
        return self.tokens >= 0
