"""Facts about a cluster, as they were asked for. Judging them needs nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..asking import Alarm, Hash, Member, Status
from ..exposition import Metrics


class Clock(NamedTuple):
    """Bounds, in seconds, of a member's clock minus the clock of this machine."""

    earliest: float
    latest: float


class Certificate(NamedTuple):
    """A certificate: where it was seen, whose it is, and when it ends (Unix time)."""

    where: str
    subject: str
    begins: float
    ends: float


@dataclass(frozen=True)
class Observed:
    """An endpoint, and what its member said in two rounds an interval apart."""

    url: str
    #: False: it was not named, but found in the list of members.
    given: bool = True
    #: Why there is no status, or "".
    error: str = ""
    #: It took a connection and did not answer in time.
    silent: bool = False
    before: Status | None = None
    after: Status | None = None
    metrics_before: Metrics | None = None
    metrics_after: Metrics | None = None
    metrics_error: str = ""
    #: "": healthy; None: not asked.
    health: str | None = None
    hash: Hash | None = None
    hash_error: str = ""
    #: The version of the cluster, by the member.
    cluster_version: str = ""
    #: None: not known.
    clock: Clock | None = None
    #: Members of the list whose address this is, if it did not answer.
    expected: int = 0

    @property
    def status(self) -> Status | None:
        """The newest status."""
        return self.after or self.before

    @property
    def metrics(self) -> Metrics | None:
        """The newest page of metrics."""
        return self.metrics_after or self.metrics_before


@dataclass(frozen=True)
class Facts:
    """All that was asked."""

    observed: tuple[Observed, ...]
    #: None: no member told them.
    members: tuple[Member, ...] | None = None
    members_error: str = ""
    #: The list was read without a quorum.
    members_stale: bool = False
    alarms: tuple[Alarm, ...] | None = ()
    alarms_error: str = ""
    auth: bool | None = None
    auth_error: str = ""
    certificates: tuple[Certificate, ...] = ()
    #: What failed when certificates were looked at.
    certificate_errors: tuple[str, ...] = ()
    #: At which the hashes were asked for; 0: they were not.
    hash_revision: int = 0
    #: Seconds between the two rounds, and Unix time.
    interval: float = 1.0
    now: float = 0.0
    #: Flags that command lines need to reach the members.
    flags: str = ""
    #: A certificate was shown to the members.
    client_certificate: bool = False

    def answering(self) -> Iterator[tuple[Observed, Status]]:
        """Yield one endpoint of each member that answered, and its status."""
        seen = set()
        for each in self.observed:
            if each.status is not None and each.status.member not in seen:
                seen.add(each.status.member)
                yield each, each.status

    def leader(self) -> Observed | None:
        """Return the endpoint of the leader, by its own word and in the highest term."""
        leading = [
            (status.term, each)
            for each, status in self.answering()
            if status.leader == status.member != 0
        ]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    def voters(self) -> list[Member]:
        """Return the members that vote."""
        return [each for each in self.members or () if not each.learner]

    def connected(self, member: int) -> bool | None:
        """Return whether other members have a connection to one, None if they do not say.

        The leader's word counts first.
        """
        leader = self.leader()
        others = [each for each, status in self.answering() if status.member != member]
        for each in sorted(others, key=lambda one: one is not leader):
            if each.metrics is not None:
                found = each.metrics.total("etcd_network_active_peers", Remote=f"{member:x}")
                if found is not None:
                    return found > 0
        return None

    def named(self, of: Observed | int) -> str:
        """Return what to call a member: its name and its endpoint, or its id."""
        if isinstance(of, Observed):
            id_ = of.status.member if of.status is not None else of.expected
            url = of.url
        else:
            id_, url = of, ""
            for each, status in self.answering():
                url = each.url if status.member == of else url
        name = next((each.name for each in self.members or () if each.id == id_), "")
        if not name:
            return url or f"{id_:x}"
        return f"{name} ({url})" if url else name

    def control(self, *words: str, at: str = "") -> str:
        """Return a command line of rusdctl, for one endpoint or for those that answer."""
        return self._command("rusdctl", words, at)

    def etcdctl(self, *words: str, at: str = "") -> str:
        """Return a command line for what rusdctl does not have."""
        return self._command("etcdctl", words, at)

    def _command(self, program: str, words: tuple[str, ...], at: str) -> str:
        urls = at or ",".join(each.url for each, _ in self.answering())
        flags = f" {self.flags}" if self.flags else ""
        # (URLs are what members say, and the line is for a shell.)
        return f"{program} --endpoints={shlex.quote(urls)}{flags} {shlex.join(words)}"
