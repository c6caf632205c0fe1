"""Token buckets for frames that do no work.

Resets, empty frames, window updates, priorities and SETTINGS are legal in any number (RFC 9113
sets no limit), and each costs CPU time: rapid reset (CVE-2023-44487) and related attacks consist of
nothing else. Each connection has three buckets; a frame without a token ends the connection with
ENHANCE_YOUR_CALM. Answered calls add tokens, so that a busy client is not limited.
"""

from rusd.door.h2.errors import ENHANCE_YOUR_CALM, H2ConnectionError

#: Resets that a client causes: cancelled calls, refused and malformed requests.
RESET_BURST, RESETS_PER_SECOND = 1000, 100
#: Age in seconds of a stream whose cancellation is not counted: deadlines pass, those of every call
#: without a quorum. The streams that may be open at once bound how often that can happen.
DEADLINE_SECONDS = 1.0
#: Frames that carry nothing.
OVERHEAD_BURST, OVERHEAD_PER_SECOND = 10_000, 1_000
#: SETTINGS frames.
SETTINGS_BURST, SETTINGS_PER_SECOND = 100, 1


class TokenBucket:
    """`burst` tokens, refilled with `per_second`."""

    __slots__ = ("_burst", "_per_second", "_seen", "tokens")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._seen = now
        self.tokens = burst

    def earn(self, tokens: float = 1) -> None:
        """Add tokens for useful work."""
        if self.tokens < self._burst:
            self.tokens += tokens

    def spend(self, now: float, tokens: float = 1) -> bool:
        """Take tokens; False if too few were left."""
        if self.tokens < tokens:
            self.tokens = min(self._burst, self.tokens + (now - self._seen) * self._per_second)
            self._seen = now
        self.tokens -= tokens
        return self.tokens >= 0


class FrameLimits:
    """The buckets of one connection. Every method raises H2ConnectionError without a token."""

    __slots__ = ("_settings", "now", "overhead", "resets")

    def __init__(self, now: float) -> None:
        #: Time of the latest read, seconds of any clock.
        self.now = now
        self.resets = TokenBucket(RESET_BURST, RESETS_PER_SECOND, now)
        self.overhead = TokenBucket(OVERHEAD_BURST, OVERHEAD_PER_SECOND, now)
        self._settings = TokenBucket(SETTINGS_BURST, SETTINGS_PER_SECOND, now)

    def count_overhead(self) -> None:
        """Count a frame without data."""
        if not self.overhead.spend(self.now):
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "too many frames without a purpose")

    def count_reset(self, age: float = 0.0) -> None:
        """Count a stream of this age that the client reset or caused to be reset."""
        if age < DEADLINE_SECONDS and not self.resets.spend(self.now):
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "too many resets")

    def count_settings(self) -> None:
        """Count a SETTINGS frame."""
        if not self._settings.spend(self.now):
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "too many SETTINGS")

    def count_looks(self, count: int) -> None:
        """Count streams examined for a new initial window that sent nothing since the last one."""
        if not self.overhead.spend(self.now, count):
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "windows too small")
