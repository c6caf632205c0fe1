"""Facts in, findings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rusd.ctl.gateway import Page
from rusd.diagnostics.asking import Alarm, Hash, Member, Status
from rusd.diagnostics.doctor import clock
from rusd.diagnostics.doctor.facts import Certificate, Clock, Facts, Observed
from rusd.diagnostics.doctor.findings import Certainty, Finding, Severity
from rusd.diagnostics.doctor.judge import CHECKS, exit_code, judge
from rusd.diagnostics.doctor.report import as_json, lines
from rusd.diagnostics.exposition import parse

NOW = 1_800_000_000.0
DAY = 86400.0
NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL


def status(member: int, **changed: Any) -> Status:
    plain = Status(
        cluster=7,
        member=member,
        revision=1000,
        version="3.7.3",
        leader=1,
        term=4,
        index=2000,
        applied=2000,
        size=1_000_000,
        in_use=900_000,
        quota=2 << 30,
        learner=False,
        errors=(),
    )
    return replace(plain, **changed)


def metrics(*lines: str) -> Any:
    plain = [
        f"process_start_time_seconds {NOW - DAY}",
        "process_open_fds 40",
        "process_max_fds 1024",
        "etcd_server_leader_changes_seen_total 1",
        'etcd_network_active_peers{Local="1",Remote="2"} 1',
        'etcd_network_active_peers{Local="1",Remote="3"} 1',
        "etcd_debugging_mvcc_compact_revision 900",
    ]
    return parse("\n".join((*plain, *lines)))


def observed(member: int, **changed: Any) -> Observed:
    both = {"before": status(member), "after": status(member)}
    pages = {"metrics_before": metrics(), "metrics_after": metrics()}
    known = {"health": "", "hash": Hash(5, 900), "clock": Clock(-0.05, 0.05)}
    return replace(Observed(f"http://127.0.0.1:{member}", **both, **pages, **known), **changed)


def member(number: int, **changed: Any) -> Member:
    urls = (f"http://127.0.0.1:{number + 10}",), (f"http://127.0.0.1:{number}",)
    return Member(number, f"m{number}", *urls, False)._replace(**changed)


def healthy(size: int = 3) -> Facts:
    return Facts(
        tuple(observed(number) for number in range(1, size + 1)),
        members=tuple(member(number) for number in range(1, size + 1)),
        auth=False,
        hash_revision=1000,
        now=NOW,
    )


def changed(number: int, **fields: Any) -> Facts:
    """Return a healthy cluster but for one member."""
    facts = healthy()
    those = [
        replace(each, **fields) if n == number else each for n, each in enumerate(facts.observed, 1)
    ]
    return replace(facts, observed=tuple(those))


def stated(number: int, **fields: Any) -> Facts:
    """Return a healthy cluster but for fields of one member's status."""
    return changed(number, before=status(number, **fields), after=status(number, **fields))


def measured(number: int, *lines: str) -> Facts:
    return changed(number, metrics_before=metrics(*lines), metrics_after=metrics(*lines))


def away(number: int, connected: int | None = None, **fields: Any) -> Facts:
    """Return a cluster of which a member does not answer; `connected`: what the leader says."""
    facts = changed(
        number, before=None, after=None, error="connection refused", expected=number, **fields
    )
    if connected is None:
        return facts
    line = f'etcd_network_active_peers{{Local="1",Remote="{number:x}"}} {connected}'
    first = replace(facts.observed[0], metrics_after=parse(line))
    return replace(facts, observed=(first, *facts.observed[1:]))


def reported(facts: Facts) -> dict[str, Finding]:
    return {each.code: each for each in judge(facts)[0]}


def test_nothing_is_found_on_a_healthy_cluster() -> None:
    findings, passed = judge(healthy())
    assert findings == []
    assert len(passed) == len(CHECKS) - 1  # (there is no certificate)


CASES: Sequence[tuple[str, Facts, str, Severity, Certainty]] = [
    ("down", away(2, 0), "member-down", WARNING, Certainty.MEASURED),
    ("silent", away(2, 1, silent=True), "member-silent", WARNING, Certainty.MEASURED),
    ("out of reach", away(2, 1, given=False), "member-out-of-reach", NOTICE, Certainty.MEASURED),
    ("out of reach, named", away(2, 1), "member-out-of-reach", WARNING, Certainty.MEASURED),
    ("margin", away(2, 0), "quorum-margin", WARNING, Certainty.MEASURED),
    (
        "no member's",
        replace(
            healthy(),
            observed=(*healthy().observed, Observed("http://127.0.0.1:9", error="refused")),
        ),
        "endpoint-away",
        WARNING,
        Certainty.MEASURED,
    ),
    ("cut off", stated(2, leader=0), "no-leader", CRITICAL, Certainty.MEASURED),
    ("two leaders", stated(2, leader=2), "two-leaders", CRITICAL, Certainty.INFERRED),
    ("old term", stated(2, term=3), "old-term", WARNING, Certainty.INFERRED),
    ("unhealthy", changed(2, health="QGET ERROR"), "unhealthy", CRITICAL, Certainty.MEASURED),
    ("versions", stated(2, version="3.6.1"), "version-skew", WARNING, Certainty.MEASURED),
    ("far versions", stated(2, version="3.5.9"), "version-skew", CRITICAL, Certainty.MEASURED),
    ("patches", stated(2, version="3.7.1"), "patch-skew", NOTICE, Certainty.MEASURED),
    ("bad version", stated(2, version="3.5.1"), "damaging-version", WARNING, Certainty.INFERRED),
    ("other cluster", stated(2, cluster=8), "several-clusters", CRITICAL, Certainty.MEASURED),
    ("small lag", stated(2, applied=1990), "lag", NOTICE, Certainty.MEASURED),
    ("lag", stated(2, applied=1500), "lag", WARNING, Certainty.MEASURED),
    ("backlog", stated(2, applied=500), "apply-backlog", WARNING, Certainty.MEASURED),
    (
        "election",
        replace(
            healthy(),
            observed=tuple(
                replace(each, before=replace(each.before, term=3))
                for each in healthy().observed
                if each.before
            ),
        ),
        "election",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "elections",
        measured(2, "etcd_server_leader_changes_seen_total 400"),
        "leader-changes",
        WARNING,
        Certainty.INFERRED,
    ),
    (
        "failures",
        changed(
            2,
            metrics_before=metrics("etcd_server_proposals_failed_total 3"),
            metrics_after=metrics("etcd_server_proposals_failed_total 9"),
        ),
        "failures-now",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "fsync",
        measured(
            2,
            'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.128"} 0',
            'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.256"} 500',
            'etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 500',
        ),
        "disk-latency",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "round trip",
        measured(
            2,
            'etcd_network_peer_round_trip_time_seconds_count{To="1"} 90',
            'etcd_network_peer_round_trip_time_seconds_bucket{To="1",le="0.4096"} 90',
            'etcd_network_peer_round_trip_time_seconds_bucket{To="1",le="+Inf"} 90',
        ),
        "round-trip",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "no connection",
        measured(1, 'etcd_network_active_peers{Local="1",Remote="2"} 0'),
        "peer-connection",
        CRITICAL,
        Certainty.MEASURED,
    ),
    (
        "young",
        measured(2, f"process_start_time_seconds {NOW - 5}"),
        "restart",
        NOTICE,
        Certainty.MEASURED,
    ),
    ("clocks", changed(2, clock=Clock(2.9, 3.1)), "clocks", WARNING, Certainty.MEASURED),
    (
        "no space",
        replace(healthy(), alarms=(Alarm(2, "NOSPACE"),)),
        "alarm-nospace",
        CRITICAL,
        Certainty.MEASURED,
    ),
    (
        "corrupt",
        replace(healthy(), alarms=(Alarm(2, "CORRUPT"),)),
        "alarm-corrupt",
        CRITICAL,
        Certainty.MEASURED,
    ),
    (
        "no alarms",
        replace(healthy(), alarms=None, alarms_error="permission denied"),
        "alarms-unknown",
        NOTICE,
        Certainty.UNKNOWN,
    ),
    ("hash", changed(2, hash=Hash(6, 900)), "hash-differs", CRITICAL, Certainty.MEASURED),
    (
        "no hash",
        changed(2, hash=None, hash_error="permission denied"),
        "hash-unknown",
        NOTICE,
        Certainty.UNKNOWN,
    ),
    ("compacted apart", changed(2, hash=Hash(6, 950)), "hash-unknown", NOTICE, Certainty.UNKNOWN),
    ("quota near", stated(2, quota=1_200_000), "quota", WARNING, Certainty.MEASURED),
    ("quota reached", stated(2, quota=1_010_000), "quota", CRITICAL, Certainty.MEASURED),
    (
        "quota of metrics",
        changed(
            2,
            before=status(2, quota=0),
            after=status(2, quota=0),
            metrics_after=metrics("etcd_server_quota_backend_bytes 1.1e+06"),
        ),
        "quota",
        WARNING,
        Certainty.MEASURED,
    ),
    ("fragments", stated(2, size=400_000_000), "fragmentation", WARNING, Certainty.MEASURED),
    (
        "never compacted",
        replace(
            healthy(1),
            observed=(
                observed(
                    1, after=status(1, revision=50_000), hash=Hash(5, 0), metrics_after=parse("")
                ),
            ),
        ),
        "compaction",
        NOTICE,
        Certainty.MEASURED,
    ),
    (
        "much history",
        replace(healthy(1), observed=(observed(1, after=status(1, revision=5_000_000)),)),
        "compaction",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "descriptors",
        measured(2, "process_open_fds 900"),
        "descriptors",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "watchers",
        measured(2, "etcd_debugging_mvcc_slow_watcher_total 400"),
        "watch-backlog",
        WARNING,
        Certainty.MEASURED,
    ),
    ("backup", measured(2, "rusd_backup_overdue 1"), "backup-overdue", WARNING, Certainty.MEASURED),
    (
        "no metrics",
        changed(2, metrics_before=None, metrics_after=None, metrics_error="HTTP status 404"),
        "metrics-unknown",
        NOTICE,
        Certainty.UNKNOWN,
    ),
    (
        "unstarted",
        replace(healthy(), members=(*(healthy().members or ()), member(4, name=""))),
        "member-unstarted",
        WARNING,
        Certainty.MEASURED,
    ),
    ("even", healthy(4), "even-voters", NOTICE, Certainty.MEASURED),
    ("two", healthy(2), "even-voters", WARNING, Certainty.MEASURED),
    ("one", healthy(1), "single-voter", NOTICE, Certainty.MEASURED),
    (
        "same member",
        replace(healthy(1), observed=(observed(1), observed(1, url="http://other:1"))),
        "same-member",
        NOTICE,
        Certainty.MEASURED,
    ),
    (
        "removed",
        replace(healthy(), members=(member(1), member(3))),
        "not-a-member",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "no client URL",
        replace(healthy(), members=(*(healthy().members or ()), member(4, client_urls=()))),
        "member-not-asked",
        WARNING,
        Certainty.UNKNOWN,
    ),
    (
        "ends",
        replace(
            healthy(), certificates=(Certificate("m1", "CN=m1", NOW - 355 * DAY, NOW + 10 * DAY),)
        ),
        "certificate",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "ends very soon",
        replace(
            healthy(), certificates=(Certificate("m1", "CN=m1", NOW - 355 * DAY, NOW + 2 * DAY),)
        ),
        "certificate",
        CRITICAL,
        Certainty.MEASURED,
    ),
    (
        "ended",
        replace(healthy(), certificates=(Certificate("m1", "CN=m1", NOW - 5 * DAY, NOW - DAY),)),
        "certificate",
        CRITICAL,
        Certainty.MEASURED,
    ),
    (
        "no certificate seen",
        replace(healthy(), certificate_errors=("m1: refused",)),
        "certificate-unknown",
        NOTICE,
        Certainty.UNKNOWN,
    ),
    (
        "plain",
        replace(healthy(1), members=(member(1, client_urls=("http://10.0.0.1:2379",)),)),
        "plain-clients",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "plain peers",
        replace(healthy(1), members=(member(1, peer_urls=("http://db1:2380",)),)),
        "plain-peers",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "open",
        replace(healthy(1), members=(member(1, client_urls=("https://10.0.0.1:2379",)),)),
        "auth-off",
        WARNING,
        Certainty.MEASURED,
    ),
    (
        "open to certificates",
        replace(
            healthy(1),
            members=(member(1, client_urls=("https://10.0.0.1:2379",)),),
            client_certificate=True,
        ),
        "auth-off",
        NOTICE,
        Certainty.INFERRED,
    ),
    (
        "no member list",
        replace(healthy(), members=None, members_error="no leader"),
        "members-unknown",
        NOTICE,
        Certainty.UNKNOWN,
    ),
]


@pytest.mark.parametrize(
    ("facts", "code", "severity", "certainty"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_fault_is_found(
    facts: Facts, code: str, severity: Severity, certainty: Certainty
) -> None:
    found = reported(facts)
    assert code in found, found.keys()
    assert (found[code].severity, found[code].certainty) == (severity, certainty)


def test_two_of_three_away_lose_the_quorum() -> None:
    gone = [
        replace(one, before=None, after=None, error="refused", expected=n)
        for n, one in enumerate(healthy().observed, 1)
        if n > 1
    ]
    facts = replace(
        healthy(),
        observed=(
            observed(
                1,
                after=status(1, leader=0),
                metrics_after=parse(
                    'etcd_network_active_peers{Remote="2"} 0\n'
                    'etcd_network_active_peers{Remote="3"} 0'
                ),
            ),
            *gone,
        ),
    )
    found = reported(facts)
    assert found["quorum-lost"].severity == CRITICAL and "m2" in found["quorum-lost"].text
    assert found["no-leader"].severity == CRITICAL


def test_a_learner_that_has_caught_up_can_be_promoted_and_is_no_voter() -> None:
    facts = replace(healthy(3), members=(member(1), member(2), member(3, learner=True)))
    found = reported(facts)
    assert "caught up" in found["learner"].text
    assert found["learner"].advice[0].endswith("member promote 3")
    assert "even-voters" in found


def test_no_answer_at_all_is_critical_and_nothing_passes() -> None:
    facts = Facts((Observed("http://127.0.0.1:1", error="connection refused"),), now=NOW)
    findings, passed = judge(facts)
    assert [each.code for each in findings] == ["no-answer"]
    assert findings[0].severity == CRITICAL and passed == []


def test_few_observations_in_the_interval_leave_the_whole_history() -> None:
    slow = [
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="{bound}"}} {n}'
        for bound, n in (("0.008", 0), ("8.192", 900), ("+Inf", 900))
    ]
    recent = [
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="{bound}"}} {n}'
        for bound, n in (("0.008", 50), ("8.192", 950), ("+Inf", 950))
    ]
    since = reported(changed(2, metrics_before=metrics(*slow), metrics_after=metrics(*slow)))
    assert "900 since its start" in since["disk-latency"].text
    now = reported(changed(2, metrics_before=metrics(*slow), metrics_after=metrics(*recent)))
    assert "disk-latency" not in now


def test_long_round_trips_are_one_finding_with_the_worst_pair_and_their_number() -> None:
    def slow(to: int, bound: float) -> tuple[str, ...]:
        name = "etcd_network_peer_round_trip_time_seconds"
        return (
            f'{name}_count{{To="{to}"}} 90',
            *(f'{name}_bucket{{To="{to}",le="{le}"}} 90' for le in (bound, "+Inf")),
        )

    facts = healthy()
    one = observed(1, metrics_after=metrics(*slow(2, 0.2048), *slow(3, 0.8192)))
    two = observed(2, metrics_after=metrics(*slow(1, 0.2048), *slow(3, 0.1024)))
    found, _ = judge(replace(facts, observed=(one, two, facts.observed[2])))
    (only,) = [each for each in found if each.code == "round-trip"]
    assert only.subject == "m1 (http://127.0.0.1:1)"
    assert "to m3 (http://127.0.0.1:3)" in only.text and "2 more pairs" in only.text
    assert 0.7 < float(only.text.split(" up to ")[1].split()[0]) <= 0.8192


def test_hashes_of_different_versions_prove_nothing() -> None:
    facts = changed(2, after=status(2, version="3.5.1"), hash=Hash(6, 900))
    found = reported(facts)["hash-differs"]
    assert (found.severity, found.certainty) == (WARNING, Certainty.UNKNOWN)


def test_a_check_without_answers_does_not_say_that_all_is_well() -> None:
    _, passed = judge(changed(2, metrics_before=None, metrics_after=None, hash=None))
    assert not any("Disks" in each or "same keys" in each for each in passed)


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        ([NOTICE], WARNING, 0),
        ([WARNING, NOTICE], WARNING, 1),
        ([CRITICAL, WARNING], WARNING, 2),
        ([WARNING], CRITICAL, 0),
        ([CRITICAL], None, 0),
        ([], NOTICE, 0),
    ],
)
def test_the_exit_code_is_the_worst_finding_at_or_above_the_level(
    severities: list[Severity], fail_on: Severity | None, code: int
) -> None:
    findings = [Finding("x", each, Certainty.MEASURED, "", "") for each in severities]
    assert exit_code(findings, fail_on) == code


def test_a_clock_is_bounded_by_what_all_pages_agree_on() -> None:
    def page(sent: float, received: float, second: int) -> Page:
        text = f"Thu, 01 Jan 1970 00:00:{second:02} GMT"
        return Page(200, b"", text, sent, received, None)

    # The member is 2 s ahead: at 10.1 its second is 12, at 10.95 it is 12, at 11.05 it is 13.
    found = clock.bounds([page(10.1, 10.11, 12), page(10.95, 10.96, 12), page(11.05, 11.06, 13)])
    assert found is not None
    assert (round(found.earliest, 2), round(found.latest, 2)) == (1.94, 2.05)
    assert clock.bounds([page(10, 10.1, 12), page(10, 10.1, 40)]) is None
    assert clock.bounds([]) is None


def test_the_report_shows_no_control_characters_of_a_member() -> None:
    facts = replace(healthy(), members=(member(1, name="m\x1b[2J"), member(2), member(3)))
    facts = replace(facts, alarms=(Alarm(1, "NOSPACE"),))
    text = "\n".join(lines(facts, *judge(facts), verbose=True, width=80))
    assert "\x1b" not in text and "m\\x1b[2J" in text
    assert "$ rusdctl --endpoints=" in text


def test_the_json_report_names_every_finding() -> None:
    facts = replace(healthy(), alarms=(Alarm(1, "NOSPACE"),))
    findings, passed = judge(facts)
    found = as_json(facts, findings, passed, 2)
    assert (found["exit"], found["worst"]) == (2, "critical")
    assert [each["code"] for each in found["findings"]] == ["alarm-nospace"]
    assert [each["status"]["member"] for each in found["members"]] == ["1", "2", "3"]
