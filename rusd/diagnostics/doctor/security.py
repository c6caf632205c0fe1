"""Checks of certificates, encryption and authentication."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from .facts import Facts
from .findings import Certainty, Finding, critical, notice, unasked, warning

_DAY: Final = 86400.0
#: Days left: warning, critical. A certificate that lives shorter is judged by shares of its life.
_SOON: Final = 30
_VERY_SOON: Final = 7


def certificates(facts: Facts) -> Iterator[Finding]:
    """No certificate ends soon."""
    for each in sorted(facts.certificates, key=lambda one: one.ends):
        left = each.ends - facts.now
        lifetime = each.ends - each.begins
        subject = f"{each.where} ({each.subject})" if each.subject else each.where
        renew = (
            "issue a new one; members of rusd and etcd read their files anew for each connection"
        )
        if left <= 0:
            text = f"the certificate ended {_span(-left)} ago: connections that verify it fail"
            yield critical("certificate", subject, text, renew)
        elif each.begins > facts.now:
            text = f"the certificate begins in {_span(each.begins - facts.now)}: a clock is wrong"
            yield critical("certificate", subject, text)
        elif left < min(_VERY_SOON * _DAY, lifetime / 20):
            yield critical("certificate", subject, f"the certificate ends in {_span(left)}", renew)
        elif left < min(_SOON * _DAY, lifetime / 5):
            yield warning("certificate", subject, f"the certificate ends in {_span(left)}", renew)
    for error in facts.certificate_errors:
        yield unasked("certificate-unknown", "", error)


def encryption(facts: Facts) -> Iterator[Finding]:
    """Addresses beyond this machine have TLS."""
    members = facts.members or ()
    clients = _plain(url for each in members for url in each.client_urls)
    if clients:
        yield warning(
            "plain-clients",
            "",
            f"client URLs without TLS beyond loopback: {_some(clients)}: keys, values and "
            "passwords can be read and changed on the way",
            "--cert-file and --key-file on every member, https in --listen-client-urls and "
            "--advertise-client-urls",
        )
    peers = _plain(url for each in members for url in each.peer_urls)
    if peers:
        yield warning(
            "plain-peers",
            "",
            f"peer URLs without TLS beyond loopback: {_some(peers)}: a host on the way can read "
            "and change everything",
            "--peer-cert-file, --peer-key-file, --peer-trusted-ca-file and --peer-client-cert-auth",
        )


def authentication(facts: Facts) -> Iterator[Finding]:
    """Clients beyond this machine have to show who they are."""
    if facts.auth is None:
        if facts.auth_error:
            text = f"whether authentication is on was not told: {facts.auth_error}"
            yield unasked("auth-unknown", "", text, "--user with the role root")
        return
    if facts.auth:
        return
    urls = [url for each in facts.members or () for url in each.client_urls if _beyond(url)]
    if not urls:
        return
    if facts.client_certificate:
        yield notice(
            "auth-off",
            "",
            "authentication is off; clients may have to show a certificate (--client-cert-auth), "
            "which was not tried",
            sure=Certainty.INFERRED,
        )
        return
    yield warning(
        "auth-off",
        "",
        f"authentication is off and no certificate was asked for: a client that reaches "
        f"{_some(urls)} can read, change and delete everything",
        "--client-cert-auth with --trusted-ca-file, or users:",
        facts.etcdctl("user", "add", "root"),
        facts.etcdctl("auth", "enable"),
    )


def _plain(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if url.startswith("http://") and _beyond(url)]


def _beyond(url: str) -> bool:
    """Whether an address is of more than this machine."""
    if url.startswith("unix"):
        return False
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return True
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _some(urls: list[str]) -> str:
    more = f" and {len(urls) - 3} more" if len(urls) > 3 else ""
    return ", ".join(urls[:3]) + more


def _span(seconds: float) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.0f} days"
    return f"{seconds / 3600:.0f} hours" if seconds >= 7200 else f"{seconds / 60:.0f} minutes"
