"""Checks of the members: who answers, quorum, leader, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .facts import Facts, Observed
from .findings import Certainty, Finding, critical, notice, unasked, warning


def answers(facts: Facts) -> Iterator[Finding]:
    """Every endpoint answers."""
    if not any(True for _ in facts.answering()):
        errors = "; ".join(f"{each.url}: {each.error}" for each in facts.observed)
        if all("user name is empty" in each.error for each in facts.observed):
            text = "authentication is on, and members tell nothing without a user"
            hint = "--user with the role root"
            yield critical("no-answer", "", text, hint, sure=Certainty.UNKNOWN)
            return
        text = f"no endpoint answers ({errors})"
        hints = ["check endpoints, --cacert, --cert, --key and --user; then processes and logs"]
        if any("TLS" in each.error for each in facts.observed):
            hints.append(
                "an endpoint without TLS begins with http://; one that wants a certificate needs "
                "--cert and --key"
            )
        elif any("refused" not in each.error for each in facts.observed):
            hints.append("an endpoint with TLS begins with https://, and may need --cacert")
        yield critical("no-answer", "", text, *hints)
        return
    for each in facts.observed:
        if each.status is None:
            yield _without_status(facts, each)


def _without_status(facts: Facts, each: Observed) -> Finding:
    subject = facts.named(each)
    if each.silent:
        return warning(
            "member-silent",
            subject,
            f"takes connections but does not answer ({each.error})",
            "the process is stopped (SIGSTOP, a debugger), starved of CPU, or waits for its disk: "
            "look at its state (`ps -o stat,wchan`), its log and the machine's disk",
        )
    connected = facts.connected(each.expected) if each.expected else None
    if connected:
        tell = notice if not each.given else warning
        return tell(
            "member-out-of-reach",
            subject,
            f"cannot be reached from here ({each.error}), though other members are connected to it",
            "name an endpoint that this machine can reach, or run this where clients run",
        )
    if connected is False:
        text = f"is down: it does not answer ({each.error}), and no member is connected to it"
        return warning("member-down", subject, text, *_revive(facts, each))
    if "permission" in each.error or "user name is empty" in each.error:
        return unasked(
            "status-refused", subject, f"refuses to tell its status: {each.error}", "add --user"
        )
    if not each.expected and facts.members:
        return warning(
            "endpoint-away",
            subject,
            f"does not answer ({each.error}), and no member advertises this address",
            "check the address, also in the configuration of clients",
        )
    text = f"does not answer ({each.error})"
    return warning("member-down", subject, text, *_revive(facts, each), sure=Certainty.INFERRED)


def _revive(facts: Facts, each: Observed) -> tuple[str, ...]:
    lost = facts.control("member", "remove", f"{each.expected:x}")
    return (
        "look at its process and its log, and start it again on its data",
        *(("if its data is lost, take it out and add it anew:", lost) if each.expected else ()),
    )


def member_list(facts: Facts) -> Iterator[Finding]:
    """The members' list could be read, all have started, and each was asked."""
    if facts.members is None:
        if any(True for _ in facts.answering()):
            text = f"the list of members could not be read: {facts.members_error}"
            yield unasked("members-unknown", "", text)
        return
    for member in facts.members:
        if not member.name:
            yield warning(
                "member-unstarted",
                f"{member.id:x}",
                f"was added with {', '.join(member.peer_urls)} and has never started; it "
                + ("is a learner" if member.learner else "counts for the quorum already"),
                "start it with --initial-cluster-state=existing, or take it back:",
                facts.control("member", "remove", f"{member.id:x}"),
            )
    asked = {status.member for _, status in facts.answering()}
    asked |= {each.expected for each in facts.observed}
    for member in facts.members:
        if member.name and member.id not in asked:
            yield warning(
                "member-not-asked",
                member.name,
                "advertises no client URL that could be asked",
                "check its --advertise-client-urls",
                sure=Certainty.UNKNOWN,
            )
    listed = {member.id for member in facts.members}
    for each, status in facts.answering():
        if status.member not in listed and not facts.members_stale:
            yield warning(
                "not-a-member",
                each.url,
                f"is of the member {status.member:x}, which is not in the list of members: it was "
                "removed, or belongs to another cluster",
            )


def one_cluster(facts: Facts) -> Iterator[Finding]:
    """All endpoints are of one cluster, and each of another member."""
    clusters = {status.cluster for _, status in facts.answering()}
    if len(clusters) > 1:
        told = ", ".join(f"{each.url}: {status.cluster:x}" for each, status in facts.answering())
        yield critical(
            "several-clusters",
            "",
            f"the endpoints are of different clusters ({told}); clients would see now this data, "
            "now that",
            "name only endpoints of one cluster",
        )
    members = Counter(each.status.member for each in facts.observed if each.status is not None)
    for member, number in members.items():
        if number > 1:
            urls = [
                each.url
                for each in facts.observed
                if each.status is not None and each.status.member == member
            ]
            text = f"{' and '.join(urls)} lead to the same member"
            yield notice("same-member", facts.named(member), text)


def quorum(facts: Facts) -> Iterator[Finding]:
    """More than a majority of the voters is there, and their number is odd."""
    voters = facts.voters()
    if not voters:
        return
    needed = len(voters) // 2 + 1
    up = [member.id for member in voters if _is_up(facts, member.id)]
    away = ", ".join(facts.named(m.id) for m in voters if m.id not in up)
    if len(up) < needed:
        yield critical(
            "quorum-lost",
            "",
            f"{len(up)} of {len(voters)} voters are there, {needed} are needed: nothing can be "
            f"written, and linearizable reads fail (away: {away})",
            "start the members that are away; if most of them are lost for ever, restore a "
            "snapshot, or start one survivor with --force-new-cluster",
        )
    elif len(up) == needed and len(up) < len(voters):
        yield warning(
            "quorum-margin",
            "",
            f"{len(up)} of {len(voters)} voters are there: if one more fails, nothing can be "
            f"written (away: {away})",
        )
    if len(voters) == 1:
        yield notice("single-voter", "", "one member: its failure stops everything")
    elif len(voters) == 2:
        yield warning(
            "even-voters",
            "",
            "two voters tolerate no failure, and fail twice as often as one",
            facts.control("member", "add", "NAME", "--learner", "--peer-urls=URL"),
        )
    elif len(voters) % 2 == 0:
        tolerated = len(voters) - needed
        yield notice(
            "even-voters",
            "",
            f"{len(voters)} voters tolerate {tolerated} failure{'s' * (tolerated > 1)}, no more "
            f"than {len(voters) - 1} would",
        )


def _is_up(facts: Facts, member: int) -> bool:
    for each in facts.observed:
        if each.status is not None and each.status.member == member:
            return True
        if each.expected == member and each.silent:
            return False
    return bool(facts.connected(member))


def learners(facts: Facts) -> Iterator[Finding]:
    """No learner waits for its promotion."""
    leader = facts.leader()
    for member in facts.members or ():
        if not member.learner or not member.name:
            continue
        status = next((s for _, s in facts.answering() if s.member == member.id), None)
        behind = None
        if status is not None and leader is not None and leader.before is not None:
            behind = max(leader.before.index - status.applied, 0)
        state = (
            "whose progress is not known"
            if behind is None
            else f"{behind} entries behind"
            if behind
            else "which has caught up"
        )
        yield notice(
            "learner",
            facts.named(member.id),
            f"is a learner, {state}: it does not count for the quorum",
            *((facts.control("member", "promote", f"{member.id:x}"),) if behind == 0 else ()),
        )


def leader(facts: Facts) -> Iterator[Finding]:
    """There is one leader, and all members follow it in one term."""
    answering = list(facts.answering())
    without = [each for each, status in answering if status.leader == 0]
    if answering and len(without) == len(answering):
        yield critical(
            "no-leader",
            "",
            "no member that answers knows a leader: nothing can be written",
            "members that do not reach each other at their peer URLs, or a lost quorum; their logs "
            "say which",
        )
        return
    for each in without:
        yield critical(
            "no-leader",
            facts.named(each),
            "knows no leader, though others do: it is cut off from its peers, and its clients "
            "cannot write",
            "check that its peer URL and those of the others can be reached, both ways",
        )
    newest = max((status.term for _, status in answering), default=0)
    leaders = {status.leader for _, status in answering if status.term == newest and status.leader}
    if len(leaders) > 1:
        named = ", ".join(facts.named(each) for each in sorted(leaders))
        yield critical(
            "two-leaders",
            "",
            f"members name different leaders in term {newest} ({named}): Raft excludes that, so "
            "endpoints of two clusters, or damaged state",
            sure=Certainty.INFERRED,
        )
    for each, status in answering:
        if status.term < newest and status.leader:
            yield warning(
                "old-term",
                facts.named(each),
                f"is in term {status.term} and others are in {newest}: an election is under "
                "way, or it is cut off",
                "run this again; if it stays, check its peer connections",
                sure=Certainty.INFERRED,
            )


def health(facts: Facts) -> Iterator[Finding]:
    """Each member does a linearizable read (`/health`)."""
    for each, _ in facts.answering():
        if each.health is not None and each.health and "alarm" not in each.health.lower():
            yield critical(
                "unhealthy",
                facts.named(each),
                f"says that it is not healthy: {each.health}",
                "clients of this member cannot do linearizable reads; see what else is found",
            )


def versions(facts: Facts) -> Iterator[Finding]:
    """All members have one version, and none is known to damage data."""
    found = {facts.named(each): status.version for each, status in facts.answering()}
    minors = {_minor(version) for version in found.values() if version}
    told = ", ".join(f"{name}: {version}" for name, version in found.items())
    if len({minor for minor in minors if minor}) > 1:
        parts = [minor for minor in minors if minor]
        apart = max(parts)[0] != min(parts)[0] or max(parts)[1] - min(parts)[1] > 1
        tell = critical if apart else warning
        yield tell(
            "version-skew",
            "",
            f"members have different versions ({told})"
            + ("; more than one minor version apart is not supported" if apart else ""),
            "finish the upgrade, or the downgrade, one member after the other",
        )
    elif len(set(found.values())) > 1:
        yield notice("patch-skew", "", f"members have different patch versions ({told})")
    for each, status in facts.answering():
        cluster, own = _minor(each.cluster_version), _minor(status.version)
        if cluster and own and len(minors) == 1 and cluster < own:
            yield notice(
                "cluster-version",
                "",
                f"the cluster works at version {each.cluster_version}, below its members' "
                f"{status.version}: an upgrade has just ended, or a downgrade is enabled",
            )
            break
    bad = [name for name, version in found.items() if version in ("3.5.0", "3.5.1", "3.5.2")]
    if bad:
        yield warning(
            "damaging-version",
            ", ".join(bad),
            "etcd 3.5.0 to 3.5.2 can lose consistency after a kill under load, as its maintainers "
            "say",
            "upgrade to the newest 3.5 at least",
            sure=Certainty.INFERRED,
        )


def _minor(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])
