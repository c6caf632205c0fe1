"""Bounds of a member's clock by the header `Date` of its pages, which names the second.

A page says that at some time between its request and its response the member's clock was within
that second. Pages at different parts of a second narrow the bounds to their distance.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from rusd.ctl.gateway import Page

from .facts import Clock


def bounds(pages: Iterable[Page]) -> Clock | None:
    """Return what all pages agree on; None if they do not (a clock was set), or tell no time."""
    low, high = float("-inf"), float("inf")
    for page in pages:
        try:
            second = parsedate_to_datetime(page.date).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
        low, high = max(low, second - page.received), min(high, second + 1 - page.sent)
    if low == float("-inf") or low > high:
        return None
    return Clock(low, high)
