"""What members are asked, by etcd's public API alone: the JSON gateway and the pages of the client
port. Nothing here is specific to rusd.

What answers may be anything: answers are bounded, and of the types that are said here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from rusd.ctl.gateway import Access, CallError, Gateway, Json, Page

from .exposition import Metrics, parse

T = TypeVar("T")
U = TypeVar("U")

#: Endpoints that are asked at a time.
_THREADS: Final = 16
#: Members of a list, and URLs of one for each of its two ports.
_MEMBERS: Final = 100
_URLS: Final = 16
#: Characters of a version.
_VERSION: Final = 64
#: Bytes of an answer, of the list of leases, of /metrics and of other pages.
_ANSWER: Final = 1 << 20
_LEASES: Final = 64 << 20
_METRICS: Final = 16 << 20
_PAGE: Final = 64 << 10
#: What an answer of another form raises.
_OTHER_FORM: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)
#: Prefixes of the metrics that are kept of a page.
_KEPT: Final = ("etcd_", "process_", "os_fd_", "grpc_server_", "rusd_")


@dataclass(frozen=True)
class Status:
    """A member's answer to Maintenance.Status."""

    cluster: int
    member: int
    revision: int
    version: str
    leader: int
    term: int
    index: int
    applied: int
    size: int
    in_use: int
    #: 0: not told (before etcd 3.6).
    quota: int
    learner: bool
    errors: tuple[str, ...]


class Member(NamedTuple):
    """A member of the cluster's list."""

    id: int
    #: "": it has never started.
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


class Alarm(NamedTuple):
    """An alarm that is raised."""

    member: int
    name: str


class Hash(NamedTuple):
    """Hash of the keys up to a revision, from the compacted revision on."""

    hash: int
    compacted: int


class Endpoint:
    """Asks one member. Each method raises CallError."""

    def __init__(self, url: str, access: Access) -> None:
        self.url = url
        self._gateway = Gateway([url], access)

    def status(self) -> Status:
        """Ask for the member's status."""
        found = self._call("maintenance/status", {})
        header = found.get("header", {})
        return Status(
            cluster=_number(header, "cluster_id"),
            member=_number(header, "member_id"),
            revision=_number(header, "revision"),
            version=str(found.get("version", ""))[:_VERSION],
            leader=_number(found, "leader"),
            term=_number(found, "raftTerm"),
            index=_number(found, "raftIndex"),
            applied=_number(found, "raftAppliedIndex"),
            size=_number(found, "dbSize"),
            in_use=_number(found, "dbSizeInUse"),
            quota=_number(found, "dbSizeQuota"),
            learner=bool(found.get("isLearner", False)),
            errors=_texts(found, "errors"),
        )

    def members(self, linearizable: bool = True) -> tuple[Member, ...]:
        """Ask for the members."""
        found = self._call("cluster/member/list", {"linearizable": linearizable})
        listed = found.get("members", ())
        if len(listed) > _MEMBERS:
            raise CallError(f"a list of {len(listed):,} members")
        return tuple(
            Member(
                _number(each, "ID"),
                str(each.get("name", "")),
                _texts(each, "peerURLs")[:_URLS],
                _texts(each, "clientURLs")[:_URLS],
                bool(each.get("isLearner", False)),
            )
            for each in listed
        )

    def alarms(self) -> tuple[Alarm, ...]:
        """Ask for the alarms."""
        found = self._call("maintenance/alarm", {"action": "GET"})
        return tuple(
            Alarm(_number(each, "memberID"), str(each.get("alarm", "NONE")))
            for each in found.get("alarms", ())
        )

    def hash(self, revision: int) -> Hash:
        """Ask for the hash of the keys at a revision; the member reads its whole database."""
        try:
            found = self._call("maintenance/hashkv", {"revision": str(revision)})
        except CallError as error:
            if "404" not in str(error):
                raise
            raise CallError("this version has no HashKV in its JSON gateway") from error
        # (-1 or 0: never compacted.)
        return Hash(int(found.get("hash", 0)), max(int(found.get("compact_revision", 0)), 0))

    def auth_enabled(self) -> bool:
        """Ask whether authentication is on."""
        return bool(self._call("auth/status", {}).get("enabled", False))

    def leases(self) -> int:
        """Ask for the number of leases."""
        return len(self._call("lease/leases", {}, _LEASES).get("leases", ()))

    def metrics(self) -> Metrics:
        """Ask for `/metrics`."""
        page = self.page("/metrics", _METRICS)
        return parse(page.body.decode(errors="replace"), _KEPT)

    def health(self) -> str:
        """Ask `/health`, for which the member does a linearizable read; return "" or the reason."""
        page = self._gateway.page("/health", _PAGE)
        try:
            found = json.loads(page.body)
            healthy, reason = found["health"] == "true", str(found.get("reason", ""))
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"no page of etcd: HTTP status {page.status}"
        return "" if healthy else reason or "the member says only that it is not healthy"

    def version(self) -> tuple[Page, dict[str, str]]:
        """Ask `/version`; the page also tells the time and the certificate."""
        page = self.page("/version")
        try:
            found = json.loads(page.body)
        except (ValueError, RecursionError):
            found = {}
        if not isinstance(found, dict):
            found = {}
        return page, {str(name): str(value) for name, value in found.items()}

    def page(self, path: str, longest: int = _PAGE) -> Page:
        """Ask for a page, which must be there."""
        page = self._gateway.page(path, longest)
        if page.status != 200:
            raise CallError(f"HTTP status {page.status} for {path}")
        return page

    def _call(self, path: str, request: Json, longest: int = _ANSWER) -> Json:
        return self._gateway.call(path, request, longest)


def _number(found: Json, name: str) -> int:
    """Return a number of an answer, which has 64 bits at most; 0 if it is left out."""
    number = int(found.get(name, 0))
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError(f"{name} has more than 64 bits")
    return number


def _texts(found: Json, name: str) -> tuple[str, ...]:
    return tuple(str(each) for each in found.get(name, ()))


def of_each(ask: Callable[[T], U], asked: Iterable[T]) -> list[U]:
    """Return the results for all of `asked`, in their order, asked at the same time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(ask, asked))


def tried(ask: Callable[[], T]) -> tuple[T | None, str]:
    """Return the answer and "", or None and the error."""
    try:
        with understood():
            return ask(), ""
    except CallError as error:
        return None, str(error) or type(error).__name__


@contextmanager
def understood() -> Iterator[None]:
    """Make an answer of another form a CallError."""
    try:
        yield
    except _OTHER_FORM as error:
        raise CallError(f"an answer that is not etcd's: {error}") from error


def all_secure(endpoints: Iterable[str], access: Access) -> bool:
    """Return whether all endpoints have TLS: then others that a member names must have it too,
    since they are sent the password.
    """
    return all(
        each.startswith("https://") if "://" in each else access.secure for each in endpoints
    )
