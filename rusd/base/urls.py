"""`Url`, the type of every URL of a member, and the comparison of two members' URLs.

A `Url` is the text in etcd's canonical form (scheme in lower case, characters beyond ASCII
percent-encoded), so that equal texts are equal URLs, and member ids, which are hashes of the text,
equal etcd's. Its parts are attributes. Accepted is what etcd accepts for a flag or a member: http
and https with host:port and no path, unix and unixs with a path. User, query and fragment are
accepted without effect.

`differing` compares the URLs of two members by the addresses their hosts resolve to.
Source: Go's net/url and etcd's types.NewURLs and netutil.URLStringsEqual, facts only.
"""

import asyncio
import contextlib
import queue
import re
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import quote, unquote

from rusd.base.logs import get_logger

log = get_logger(__name__)

SCHEMES = ("http", "https", "unix", "unixs")
#: Seconds until every host must have been resolved, and between two attempts, as in etcd.
RESOLVE_TIMEOUT = 30.0
RESOLVE_INTERVAL = 1.0

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"//([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Characters that Go accepts in a host name; those beyond ASCII may be percent-encoded.
_NAME = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=<>\"]|[^\x00-\x7f]|%[89A-Fa-f][0-9A-Fa-f])*")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class Url(str):
    """One URL. `Url(text)` raises ValueError with etcd's reason if the text is not a URL."""

    scheme: str
    #: In lower case, without brackets; "" for unix sockets and if absent.
    host: str
    #: 0 for unix sockets and if absent; may be above 65535.
    port: int
    #: Path of the socket file; "" for http and https.
    path: str

    def __new__(cls, text: str) -> "Url":
        if isinstance(text, Url):
            return text
        given = text.strip()
        parts = _parse(given)
        made = super().__new__(cls, quote(parts.text, safe=_ASCII))
        made.scheme, made.host, made.port, made.path = parts[1:]
        return made

    @property
    def is_unix(self) -> bool:
        """Whether the URL names a unix socket: it has a path, and no host or port."""
        return self.scheme in ("unix", "unixs")

    @property
    def is_secure(self) -> bool:
        """Whether the URL requires TLS."""
        return self.scheme in ("https", "unixs")

    @property
    def address(self) -> tuple[str, int]:
        """The address to listen on; equal for http and https."""
        return (f"unix:{self.path}", 0) if self.is_unix else (_normal(self.host), self.port)


class _Parts(NamedTuple):
    text: str
    scheme: str
    host: str
    port: int
    path: str


def _parse(text: str) -> _Parts:
    if _CONTROL.search(text):
        raise ValueError(f"invalid URL {text!r}: invalid control character in URL")
    found = _SCHEME.fullmatch(text)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", text)
    if scheme not in SCHEMES:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
    parts = _AUTHORITY.fullmatch(rest)
    authority, path, _ = parts.groups() if parts else ("", "", "")
    host = authority.rpartition("@")[2]
    name, port = _host(host, text)
    if scheme in ("unix", "unixs"):
        if rest == "//":
            rest = ""
        return _Parts(f"{scheme}:{rest}", scheme, "", 0, unquote(host + path))
    if port is None:
        raise ValueError(f'URL address does not have the form "host:port": {text}')
    if path:
        raise ValueError(f"URL must not contain a path: {text}")
    return _Parts(f"{scheme}:{rest}", scheme, name, int(port or "0"), "")


def _host(host: str, text: str) -> tuple[str, str | None]:
    """Split a host into name and port; the port is None if absent or ambiguous."""
    if host.startswith("["):
        inside, bracket, rest = host[1:].partition("]")
        if not bracket:
            raise ValueError(f"invalid URL {text}: missing ']' in host")
        address, percent, zone = inside.partition("%25")
        try:
            IPv6Address(address)
        except ValueError:
            raise ValueError(f"invalid URL {text}: invalid host {host}") from None
        if rest and not re.fullmatch(":[0-9]*", rest):
            raise ValueError(f"invalid URL {text}: invalid port {rest} after host")
        name = address + ("%" + unquote(zone) if percent else "")
        return name.lower(), rest[1:] if rest else None
    name, colon, port = host.rpartition(":")
    if not colon:
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError(f"invalid URL {text}: invalid port :{port} after host")
    if not _NAME.fullmatch(name.replace(":", "")):
        raise ValueError(f"invalid URL {text}: invalid character in host name")
    known = port if colon and ":" not in name else None
    return unquote(name).lower(), known


def _normal(host: str) -> str:
    """Shorten an IP address, an IPv4-mapped one to IPv4; leave a name as it is."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


# -- comparing by address ------------------------------------------------------------------------


def differing(
    one: Sequence[str], other: Sequence[str], timeout: float = RESOLVE_TIMEOUT
) -> str | None:
    """Return why the URLs of two members differ; None if they are the same.

    Two URLs are the same if scheme and port are equal and the hosts share an address; `localhost`
    equals only itself, as in etcd. Names are resolved only if the texts differ, for at most
    `timeout` seconds. This blocks the thread, but a signal handler can run.
    """
    if len(one) != len(other):
        return f"{len(one)} URLs are not {len(other)}"
    try:
        left, right = sorted(map(Url, one)), sorted(map(Url, other))
    except ValueError as error:
        return str(error)
    if [(url.scheme, url.address) for url in left] == [(url.scheme, url.address) for url in right]:
        return None
    hosts = {url.host for url in (*left, *right) if not url.is_unix}
    try:
        addresses = _resolve(hosts, timeout)
    except OSError as error:
        return str(error)
    for url in left:
        same = next((each for each in right if _same(url, each, addresses)), None)
        if same is None:
            return f"resolved urls: {', '.join(left)} != {', '.join(other)}"
        right.remove(same)
    return None


async def differing_in_thread(one: Sequence[str], other: Sequence[str]) -> str | None:
    """Run `differing` in a thread, which does not keep the process alive."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()

    def settle(reason: str | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(reason)

    def compare() -> None:
        reason, failure = None, None
        try:
            reason = differing(one, other)
        except Exception as error:  # noqa: BLE001
            # Raised in the coroutine that waits.
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, reason, failure)

    threading.Thread(target=compare, daemon=True).start()
    return await answer


_Addresses = dict[str, frozenset[str]]


def _same(one: Url, other: Url, addresses: _Addresses) -> bool:
    if one.scheme != other.scheme or one.port != other.port or one.path != other.path:
        return False
    return one.is_unix or not addresses[one.host].isdisjoint(addresses[other.host])


def _resolve(hosts: Iterable[str], timeout: float) -> _Addresses:
    """Resolve each host. Raises OSError if one has no address in time."""
    found: _Addresses = {}
    answers: queue.SimpleQueue[tuple[str, frozenset[str]]] = queue.SimpleQueue()
    deadline = time.monotonic() + timeout
    wanted = set(hosts)
    for host in wanted:
        # One thread each: a look-up takes no timeout and cannot be interrupted.
        arguments = (host, deadline, answers)
        threading.Thread(target=_look_up, args=arguments, daemon=True).start()
    while found.keys() < wanted:
        try:
            host, addresses = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            missing = ", ".join(sorted(wanted - found.keys()))
            raise OSError(f"failed to resolve {missing}") from None
        found[host] = addresses
    return found


def _look_up(
    host: str, deadline: float, answers: "queue.SimpleQueue[tuple[str, frozenset[str]]]"
) -> None:
    """Resolve `host`, with retries until the deadline."""
    if host == "localhost":
        answers.put((host, frozenset((host,))))
        return
    while True:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            fields = {"host": host, "retry-interval": f"{RESOLVE_INTERVAL:g}s", "error": str(error)}
            log.warning("failed to resolve URL Host", extra={"fields": fields})
        else:
            answers.put((host, frozenset(_normal(str(each[4][0])) for each in found)))
            return
        if time.monotonic() + RESOLVE_INTERVAL > deadline:
            return
        time.sleep(RESOLVE_INTERVAL)
