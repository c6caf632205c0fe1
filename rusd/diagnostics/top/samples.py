"""Asks all members, again and again. Members that are added, or come back, appear by themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rusd.ctl.gateway import Access

from ..asking import Endpoint, Member, all_secure, of_each, tried
from .rates import Sample, View, view

#: Seconds between two questions for what changes seldom, or is long: members, alarms, leases.
_SELDOM: Final = 5.0

#: Seconds that a member which does not answer holds up the others' figures.
_TIMEOUT: Final = 2.0


class Samples:
    """The members of the cluster that endpoints lead to."""

    def __init__(self, endpoints: Sequence[str], access: Access) -> None:
        scheme = "https" if access.secure else "http"
        self._given = [one if "://" in one else f"{scheme}://{one}" for one in endpoints]
        secure = all_secure(endpoints, access)
        self._access = access._replace(timeout=min(access.timeout, _TIMEOUT), tls_only=secure)
        self._endpoints: dict[str, Endpoint] = {}
        self._members: dict[int, Member] = {}
        #: Endpoint -> the member that it led to.
        self._known: dict[str, int] = {}
        self._before: dict[str, Sample] = {}
        self._seldom_at = float("-inf")
        self._leases: int | None = None
        self._alarms: tuple[str, ...] = ()

    def take(self) -> View:
        """Ask each member once; rates are those since the last time."""
        now = of_each(self._sample, self._urls())
        for each in now:
            if each.status is not None:
                self._known[each.url] = each.status.member
        answering = [each for each in now if each.status is not None]
        if answering and time.monotonic() - self._seldom_at > _SELDOM:
            self._ask_seldom(self._of(answering[0].url))
            self._seldom_at = time.monotonic()
            if more := [url for url in self._urls() if url not in {each.url for each in now}]:
                now += of_each(self._sample, more)
        now = [self._named(each) for each in now]
        found = view(self._before, now, self._leases, self._alarms)
        self._before = {each.url: each for each in now if each.metrics is not None}
        return found

    def _urls(self) -> list[str]:
        """Return the endpoints that are given, and one of each other member."""
        led_to = {self._known.get(url) for url in self._given}
        urls = list(dict.fromkeys(self._given))
        for member in self._members.values():
            there = [url for url in member.client_urls if url.startswith("http")]
            if member.id not in led_to and there and not set(there) & set(urls):
                urls.append(there[0])
        return urls

    def _of(self, url: str) -> Endpoint:
        return self._endpoints.setdefault(url, Endpoint(url, self._access))

    def _sample(self, url: str) -> Sample:
        asked = self._of(url)
        status, error = tried(asked.status)
        if status is None:
            return Sample(url, time.monotonic(), error=error)
        metrics, error = tried(asked.metrics)
        return Sample(url, time.monotonic(), status=status, metrics=metrics, error=error)

    def _ask_seldom(self, asked: Endpoint) -> None:
        members, _ = tried(lambda: asked.members(linearizable=False))
        if members:
            self._members = {each.id: each for each in members}
        alarms, _ = tried(asked.alarms)
        self._alarms = tuple(sorted({each.name for each in alarms or ()}))
        self._leases, _ = tried(asked.leases)

    def _named(self, each: Sample) -> Sample:
        member = self._members.get(self._known.get(each.url, 0))
        if member is None:
            owners = [one for one in self._members.values() if each.url in one.client_urls]
            member = owners[0] if owners else None
        return Sample(each.url, each.time, member, each.status, each.metrics, each.error)
