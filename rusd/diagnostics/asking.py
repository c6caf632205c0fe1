"""What members are asked, by etcd's public API alone: the JSON gateway and the pages of the client
port. Nothing here is specific to rusd.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from rusd.ctl.gateway import Access, CallError, Gateway, Page

from .exposition import Metrics, parse

T = TypeVar("T")
U = TypeVar("U")

#: Endpoints that are asked at a time.
_THREADS: Final = 16
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
        found = self._gateway.call("maintenance/status", {})
        header = found.get("header", {})
        return Status(
            cluster=int(header.get("cluster_id", 0)),
            member=int(header.get("member_id", 0)),
            revision=int(header.get("revision", 0)),
            version=str(found.get("version", "")),
            leader=int(found.get("leader", 0)),
            term=int(found.get("raftTerm", 0)),
            index=int(found.get("raftIndex", 0)),
            applied=int(found.get("raftAppliedIndex", 0)),
            size=int(found.get("dbSize", 0)),
            in_use=int(found.get("dbSizeInUse", 0)),
            quota=int(found.get("dbSizeQuota", 0)),
            learner=bool(found.get("isLearner", False)),
            errors=tuple(found.get("errors", ())),
        )

    def members(self, linearizable: bool = True) -> tuple[Member, ...]:
        """Ask for the members."""
        found = self._gateway.call("cluster/member/list", {"linearizable": linearizable})
        return tuple(
            Member(
                int(each["ID"]),
                str(each.get("name", "")),
                tuple(each.get("peerURLs", ())),
                tuple(each.get("clientURLs", ())),
                bool(each.get("isLearner", False)),
            )
            for each in found.get("members", ())
        )

    def alarms(self) -> tuple[Alarm, ...]:
        """Ask for the alarms."""
        found = self._gateway.call("maintenance/alarm", {"action": "GET"})
        return tuple(
            Alarm(int(each.get("memberID", 0)), str(each.get("alarm", "NONE")))
            for each in found.get("alarms", ())
        )

    def hash(self, revision: int) -> Hash:
        """Ask for the hash of the keys at a revision; the member reads its whole database."""
        try:
            found = self._gateway.call("maintenance/hashkv", {"revision": str(revision)})
        except CallError as error:
            if "404" not in str(error):
                raise
            raise CallError("this version has no HashKV in its JSON gateway") from error
        # (-1 or 0: never compacted.)
        return Hash(int(found.get("hash", 0)), max(int(found.get("compact_revision", 0)), 0))

    def auth_enabled(self) -> bool:
        """Ask whether authentication is on."""
        return bool(self._gateway.call("auth/status", {}).get("enabled", False))

    def leases(self) -> int:
        """Ask for the number of leases."""
        return len(self._gateway.call("lease/leases", {}).get("leases", ()))

    def metrics(self) -> Metrics:
        """Ask for `/metrics`."""
        page = self.page("/metrics")
        return parse(page.body.decode(errors="replace"), _KEPT)

    def health(self) -> str:
        """Ask `/health`, for which the member does a linearizable read; return "" or the reason."""
        page = self._gateway.page("/health")
        try:
            found = json.loads(page.body)
            healthy, reason = found["health"] == "true", str(found.get("reason", ""))
        except (ValueError, KeyError, TypeError):
            return f"no page of etcd: HTTP status {page.status}"
        return "" if healthy else reason or "the member says only that it is not healthy"

    def version(self) -> tuple[Page, dict[str, str]]:
        """Ask `/version`; the page also tells the time and the certificate."""
        page = self.page("/version")
        try:
            found = json.loads(page.body)
        except ValueError:
            found = {}
        return page, found if isinstance(found, dict) else {}

    def page(self, path: str) -> Page:
        """Ask for a page, which must be there."""
        page = self._gateway.page(path)
        if page.status != 200:
            raise CallError(f"HTTP status {page.status} for {path}")
        return page


def of_each(ask: Callable[[T], U], asked: Iterable[T]) -> list[U]:
    """Return the results for all of `asked`, in their order, asked at the same time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(ask, asked))


def tried(ask: Callable[[], T]) -> tuple[T | None, str]:
    """Return the answer and "", or None and the error."""
    try:
        return ask(), ""
    except CallError as error:
        return None, str(error) or type(error).__name__
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"an answer that is not etcd's: {error}"
