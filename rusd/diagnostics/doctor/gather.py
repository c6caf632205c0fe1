"""Asks the members, all at the same time, in two rounds an interval apart.

Endpoints that were not named are those of the list of members that no named endpoint led to.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from rusd.ctl.gateway import Access, Page

from ..asking import Endpoint, Member, T, all_secure, of_each, tried
from . import certificates, clock
from .facts import Certificate, Facts, Observed

#: Pages that tell the time, in the interval.
_TIMES: Final = 8
_TIMED_OUT: Final = "context deadline exceeded"


class Gathering:
    """Facts in the making."""

    def __init__(self, access: Access, *, interval: float, hashes: bool, flags: str) -> None:
        self._access = access
        self._interval = interval
        self._hashes = hashes
        self._flags = flags
        #: How much of the work is done, from 0 to 1.
        self.part = 0.0
        self._pages: dict[str, list[Page]] = {}
        #: By URL: each keeps its token, for which members hash a password.
        self._endpoints: dict[str, Endpoint] = {}

    def gather(self, endpoints: Sequence[str]) -> Facts:
        """Ask everything."""
        self._access = self._access._replace(tls_only=all_secure(endpoints, self._access))
        urls = [self._url(each) for each in dict.fromkeys(endpoints)]
        first = of_each(self._first, urls)
        facts = self._of_cluster(Facts((*first,), flags=self._flags))
        others = of_each(self._first_of_member, self._not_seen(facts))
        facts = replace(facts, observed=self._expected(facts, (*first, *others)))
        self.part = 0.2
        begun = time.monotonic()
        self._tell_times(facts, begun)
        self.part = 0.5
        observed = of_each(self._second, facts.observed)
        interval = time.monotonic() - begun
        facts = replace(facts, observed=(*observed,), interval=round(interval, 1))
        if self._hashes:
            facts = self._with_hashes(facts)
        self.part = 0.9
        found, errors = self._certificates(facts)
        return replace(
            facts,
            certificates=found,
            certificate_errors=errors,
            now=time.time(),
            client_certificate=self._access.cert is not None,
        )

    def _url(self, endpoint: str) -> str:
        if "://" in endpoint:
            return endpoint.rstrip("/")
        return f"{'https' if self._access.secure else 'http'}://{endpoint}"

    def _endpoint(self, url: str) -> Endpoint:
        return self._endpoints.setdefault(url, Endpoint(url, self._access))

    # -- the first round -----------------------------------------------------------------------

    def _first(self, url: str) -> Observed:
        asked = self._endpoint(url)
        status, error = tried(asked.status)
        if status is None:
            silent = error == _TIMED_OUT and self._connects(url)
            return Observed(url, error=error, silent=silent)
        version, _ = tried(asked.version)
        if version is not None:
            self._pages[url] = [version[0]]
        health, _ = tried(asked.health)
        metrics, metrics_error = tried(asked.metrics)
        return Observed(
            url,
            before=status,
            health=health,
            metrics_before=metrics,
            metrics_error=metrics_error,
            cluster_version=version[1].get("etcdcluster", "") if version is not None else "",
        )

    def _connects(self, url: str) -> bool:
        """Whether the address takes a connection: a stopped process does, its kernel answers."""
        parts = urlsplit(url)
        try:
            address = (parts.hostname or "127.0.0.1", parts.port or 2379)
            socket.create_connection(address, self._access.dial_timeout).close()
        except (OSError, ValueError):
            return False
        return True

    def _first_of_member(self, member: Member) -> Observed:
        """Ask a member's client URLs in turn until one answers."""
        found = [Observed("", error="no client URL")]
        for url in member.client_urls:
            if url.startswith("http"):
                found.append(self._first(url))
                if found[-1].status is not None:
                    break
        return replace(found[-1], given=False, expected=member.id)

    def _of_cluster(self, facts: Facts) -> Facts:
        """Ask what is the same of each member."""
        answering = [self._endpoint(each.url) for each, _ in facts.answering()]
        if not answering:
            return facts
        # (All at once: without a quorum each question waits until its time is up.)
        (members, error), (listed, _), (alarms, alarms_error), (auth, auth_error) = of_each(
            lambda ask: _any(answering, ask),
            (
                lambda asked: asked.members(),
                lambda asked: asked.members(linearizable=False),
                lambda asked: asked.alarms(),
                lambda asked: asked.auth_enabled(),
            ),
        )
        stale = members is None
        if auth is None and "user name is empty" in auth_error:
            auth = True
        return replace(
            facts,
            members=members or listed,
            members_error=error,
            members_stale=stale,
            alarms=alarms,
            alarms_error=alarms_error,
            auth=auth,
            auth_error=auth_error,
        )

    @staticmethod
    def _not_seen(facts: Facts) -> list[Member]:
        """Return the members that no endpoint led to, nor is known to lead to."""
        seen = {status.member for _, status in facts.answering()}
        failed = {each.url for each in facts.observed if each.status is None}
        return [
            each
            for each in facts.members or ()
            if each.id not in seen and each.client_urls and not failed & {*each.client_urls}
        ]

    @staticmethod
    def _expected(facts: Facts, observed: Iterable[Observed]) -> tuple[Observed, ...]:
        """Say which member an address is of that did not answer."""
        owners = {url: each.id for each in facts.members or () for url in each.client_urls}
        return tuple(
            each if each.expected else replace(each, expected=owners.get(each.url, 0))
            for each in observed
        )

    # -- the second ----------------------------------------------------------------------------

    def _tell_times(self, facts: Facts, begun: float) -> None:
        """Ask for pages all over the interval, which then ends."""
        for number in range(1, _TIMES + 1):
            left = begun + self._interval * number / _TIMES - time.monotonic()
            time.sleep(max(left, 0))
            of_each(self._tell_time, [each.url for each, _ in facts.answering()])

    def _tell_time(self, url: str) -> None:
        page, _ = tried(lambda: self._endpoint(url).page("/version"))
        if page is not None:
            self._pages.setdefault(url, []).append(page)

    def _second(self, each: Observed) -> Observed:
        if each.before is None:
            return each
        asked = self._endpoint(each.url)
        status, _ = tried(asked.status)
        metrics, error = tried(asked.metrics) if each.metrics_before else (None, each.metrics_error)
        found = clock.bounds(self._pages.get(each.url, ()))
        return replace(each, after=status, metrics_after=metrics, metrics_error=error, clock=found)

    def _with_hashes(self, facts: Facts) -> Facts:
        """Compare at the highest revision that all members had in the first round."""
        revisions = [each.before.revision for each, _ in facts.answering() if each.before]
        if len(revisions) < 2:
            return facts
        at = min(revisions)

        def ask(each: Observed) -> Observed:
            if each.status is None:
                return each
            found, error = tried(lambda: self._endpoint(each.url).hash(at))
            return replace(each, hash=found, hash_error=error)

        return replace(facts, observed=(*of_each(ask, facts.observed),), hash_revision=at)

    # -- certificates --------------------------------------------------------------------------

    def _certificates(self, facts: Facts) -> tuple[tuple[Certificate, ...], tuple[str, ...]]:
        found: list[Certificate] = []
        errors: list[str] = []
        for flag, path in (("--cacert", self._access.cacert), ("--cert", self._access.cert)):
            if path:
                try:
                    found.append(certificates.of_file(flag, path))
                except (OSError, ValueError) as error:
                    errors.append(f"{flag} {path}: {error}")
        addresses = {each.url: facts.named(each) for each in facts.observed}
        for member in facts.members or ():
            addresses |= {url: f"{member.name}, peers ({url})" for url in member.peer_urls}
        secured = [(url, name) for url, name in addresses.items() if url.startswith("https://")]

        def look(asked: tuple[str, str]) -> Certificate | str:
            url, name = asked
            try:
                shown = certificates.of_address(url, self._access)
                return certificates.described(name, shown) if shown else f"{name}: no certificate"
            except (OSError, ValueError) as error:
                return f"the certificate of {name} was not seen: {error}"

        for one in of_each(look, secured):
            (errors if isinstance(one, str) else found).append(one)  # type: ignore[arg-type]
        return tuple(found), tuple(errors)


def _any(asked: Sequence[Endpoint], ask: Callable[[Endpoint], T]) -> tuple[T | None, str]:
    """Return the answer of the first endpoint that has one, or the first error."""
    answers = of_each(lambda each: tried(lambda: ask(each)), asked)
    return next((answer for answer in answers if answer[0] is not None), answers[0])
