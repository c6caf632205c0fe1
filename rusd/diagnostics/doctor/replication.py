"""Checks of Raft: lag, terms, proposals, connections between members, clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from ..exposition import grown
from .facts import Facts
from .findings import Certainty, Finding, critical, notice, warning

#: Entries. Beyond the last, etcd's default --snapshot-catchup-entries, a follower may need a
#: snapshot; etcd refuses writes above that backlog of applies.
_LAG_WARNING: Final = 100
_LAG_CRITICAL: Final = 5000
_BACKLOG: Final = 1000
#: Changes of leader in an hour.
_CHANGES: Final = 4
#: Seconds between members, by the 99th percentile (as etcd's alert).
_ROUND_TRIP: Final = 0.15
#: Round trips that are enough to judge by.
_ENOUGH: Final = 20
#: Peers of one member that are looked at, and an id of one as etcd writes it.
_PEERS: Final = 100
_ID: Final = re.compile("[0-9a-f]{1,16}")
#: Seconds that clocks differ.
_CLOCKS: Final = 1.0
#: Counters that stand still while all is well.
_COUNTERS: Final = (
    ("etcd_server_proposals_failed_total", "proposals failed", "a leader was missing or slow"),
    ("etcd_server_slow_apply_total", "applies were slow", "the disk or the CPU is too slow"),
    (
        "etcd_server_heartbeat_send_failures_total",
        "heartbeats were late",
        "the leader lacks CPU, or its disk is slow",
    ),
    (
        "etcd_server_read_indexes_failed_total",
        "linearizable reads failed",
        "the leader did not answer in time",
    ),
    (
        "etcd_server_slow_read_indexes_total",
        "linearizable reads were slow",
        "the network between members, or the leader, is slow",
    ),
)


def lag(facts: Facts) -> Iterator[Finding]:
    """No member is behind by more than the interval."""
    # The index was reached by a member before the second round of questions began.
    reached = max((each.before.index for each, _ in facts.answering() if each.before), default=0)
    for each, status in facts.answering():
        if each.after is None:
            continue
        behind = reached - status.applied
        if behind > 0:
            text = (
                f"has not applied {behind} entries that another member had {facts.interval:g} s "
                "before"
            )
            tell = notice
            if behind >= _LAG_WARNING:
                tell = warning if behind < _LAG_CRITICAL else critical
            yield tell(
                "lag",
                facts.named(each),
                text,
                "cut off, catching up after a start, or too slow a disk: run this again to see "
                "whether the number falls",
            )
        if (backlog := status.index - status.applied) >= _BACKLOG:
            yield warning(
                "apply-backlog",
                facts.named(each),
                f"has {backlog} committed entries to apply; at 5,000 etcd refuses writes",
                "large transactions, deletions or compactions, or too slow a disk",
            )


def terms(facts: Facts) -> Iterator[Finding]:
    """No election took place in the interval, and few since the members started."""
    first = max((each.before.term for each, _ in facts.answering() if each.before), default=0)
    last = max((status.term for _, status in facts.answering()), default=0)
    if first and last > first:
        yield warning(
            "election",
            "",
            f"the term went from {first} to {last} within {facts.interval:g} s: an election took "
            "place just now",
            "run this again; if terms go on growing, look for slow disks, lost packets, or members "
            "cut off one way",
        )
    for each, _ in facts.answering():
        metrics = each.metrics
        if metrics is None:
            continue
        changes = metrics.total("etcd_server_leader_changes_seen_total")
        started = metrics.total("process_start_time_seconds")
        if changes is None or started is None:
            continue
        hours = max(facts.now - started, 1.0) / 3600
        # (The first is that of the start.)
        if changes - 1 > max(_CHANGES, _CHANGES * hours):
            yield warning(
                "leader-changes",
                facts.named(each),
                f"saw {changes:.0f} changes of leader in {_age(hours * 3600)}, since it started",
                "slow disks (see fsync), lost packets, too little CPU, or an --election-timeout "
                "too short for the round trip",
                sure=Certainty.INFERRED,
            )


def counters(facts: Facts) -> Iterator[Finding]:
    """Counters of failures stand still in the interval."""
    for each, _ in facts.answering():
        for name, what, why in _COUNTERS:
            number = grown(each.metrics_before, each.metrics_after, name)
            if number:
                yield warning(
                    "failures-now",
                    facts.named(each),
                    f"{what}: {number:.0f} in {facts.interval:g} s ({name})",
                    f"likely: {why}",
                )


def restarts(facts: Facts) -> Iterator[Finding]:
    """No member has just started."""
    ages = {}
    for each, _ in facts.answering():
        started = each.metrics and each.metrics.total("process_start_time_seconds")
        if started and facts.now - started < 60:
            ages[facts.named(each)] = max(facts.now - started, 0)
    if ages:
        told = ", ".join(f"{name} {seconds:.0f} s ago" for name, seconds in ages.items())
        text = f"members have just started: {told}; figures since then say little yet"
        yield notice("restart", "", text)


def round_trips(facts: Facts) -> Iterator[Finding]:
    """Round trips between members are short. One finding for all pairs: the cause is often one."""
    long: list[tuple[float, str, str]] = []
    for each, _ in facts.answering():
        if each.metrics is None:
            continue
        peers = each.metrics.series("etcd_network_peer_round_trip_time_seconds_count")
        for labels, _ in islice(peers, _PEERS):
            to = labels.get("To", "")
            found = each.metrics.histogram("etcd_network_peer_round_trip_time_seconds", To=to)
            few = found is None or found.count < _ENOUGH
            value = found.quantile(0.99) if found is not None and not few else None
            if value is not None and value > _ROUND_TRIP:
                peer = facts.named(int(to, 16)) if _ID.fullmatch(to) else "a peer"
                long.append((value, facts.named(each), peer))
    if long:
        value, member, peer = max(long)
        alert = f"etcd's alert is at {_ROUND_TRIP:g} s"
        more = len(long) - 1
        if more:
            pairs = f"{more} more pairs of members are" if more > 1 else "one more pair is"
            alert += f", and {pairs} above it"
        yield warning(
            "round-trip",
            member,
            f"99 of 100 round trips to {peer} since its start took up to {value:g} s; {alert}",
            "the network between them, or a peer without CPU; --heartbeat-interval should "
            "be near the round trip, --election-timeout ten times that",
        )


def connections(facts: Facts) -> Iterator[Finding]:
    """The leader has a connection to each member that answers here."""
    leader = facts.leader()
    if leader is None or leader.metrics is None:
        return
    for each, status in facts.answering():
        remote = f"{status.member:x}"
        if each is leader or leader.metrics.total("etcd_network_active_peers", Remote=remote) != 0:
            continue
        yield critical(
            "peer-connection",
            facts.named(each),
            "answers here, but the leader has no connection to it",
            "check its peer URL from the leader's machine, and the certificates of peers",
        )


def clocks(facts: Facts) -> Iterator[Finding]:
    """Clocks agree."""
    known = [(each, each.clock) for each, _ in facts.answering() if each.clock is not None]
    for number, (one, first) in enumerate(known):
        for other, second in known[number + 1 :]:
            low, high = first.earliest - second.latest, first.latest - second.earliest
            apart = max(low, -high)
            if apart > _CLOCKS:
                middle, error = abs(low + high) / 2, (high - low) / 2
                yield warning(
                    "clocks",
                    f"{facts.named(one)}, {facts.named(other)}",
                    f"their clocks differ by {middle:.1f} s (± {error:.1f} s): certificates, "
                    "tokens and logs are judged by different times",
                    "run a time daemon on each machine: chronyc tracking",
                )
    away = [clock for _, clock in known if max(clock.earliest, -clock.latest) > _CLOCKS]
    if known and len(away) == len(known):
        middle = sum(clock.earliest + clock.latest for clock in away) / 2 / len(away)
        text = f"this machine's clock differs from the members' by about {abs(middle):.1f} s"
        yield notice("own-clock", "", text)


def _age(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
