"""`rusd doctor`, `rusd top` and `rusd explain` on clusters of rusd and of etcd, broken in turn."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
import termios
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from rusd.ctl import command as rusdctl
from rusd.ctl.gateway import Access, CallError, Gateway
from rusd.diagnostics import command as diagnostics
from rusd.diagnostics.asking import T, tried
from rusd.diagnostics.doctor.facts import Facts
from rusd.diagnostics.doctor.findings import Certainty, Finding, Severity
from rusd.diagnostics.doctor.gather import Gathering
from rusd.diagnostics.doctor.judge import judge
from tests.support.pair import ORACLE, command
from tests.support.waiting import wait

pytestmark = pytest.mark.differential

QUOTA = 20_000_000
#: What the oldest etcd of the tests is, and members of the tests are.
EXPECTED = {
    "damaging-version",
    "restart",
    "disk-latency",
    "failures-now",
    "leader-changes",
    "round-trip",
    "hash-unknown",  # etcd 3.5 has no HashKV in its gateway
}


class Patient:
    """A cluster, and how to ask it."""

    def __init__(self, cluster: LocalCluster, authority: Authority, is_etcd: bool) -> None:
        self.is_etcd = is_etcd
        self.cluster = cluster
        self.authority = authority
        self.access = Access(cacert=str(authority.cert), timeout=1.5)
        self.flags = [f"--cacert={authority.cert}", "--command-timeout=5s"]

    def facts(self, *endpoints: str) -> Facts:
        flags = " ".join(self.flags)
        gathering = Gathering(self.access, interval=0.3, hashes=True, flags=flags)
        return gathering.gather([*endpoints] or self.cluster.endpoints)

    def found(self, *endpoints: str) -> dict[str, Finding]:
        """Return findings by their code, without those that every run may have."""
        findings, _ = judge(self.facts(*endpoints))
        return {each.code: each for each in findings if each.code not in EXPECTED}

    @contextmanager
    def back(self, *members: int) -> Iterator[None]:
        """Start members again when the block ends."""
        try:
            yield
        finally:
            for each in members:
                self.cluster.set_flags(each, [])
                self.cluster.restart(each)
            self.cluster.wait_healthy()

    def call(self, path: str, request: dict[str, object]) -> dict[str, object]:
        return Gateway(self.cluster.endpoints, self.access).call(path, request)

    def size(self) -> int:
        return int(str(self.call("maintenance/status", {})["dbSize"]))

    def follow(self, advice: tuple[str, ...]) -> None:
        """Do what a finding advises, command line by command line."""
        lines = [line for line in advice if line.startswith("rusdctl ")]
        assert lines
        for line in lines:
            assert rusdctl.main(shlex.split(line)[1:], {}) == 0, line


@pytest.fixture
def broken(patient: Patient) -> Patient:
    """A cluster that the test may break. Etcd's is broken beside the newest etcd only, for time."""
    if patient.is_etcd and ORACLE == "etcd":
        pytest.skip("`make test-differential` breaks the newest etcd")
    return patient


@pytest.fixture(scope="module", params=["rusd", "etcd"])
def patient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Patient]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    binary = None if request.param == "rusd" else [command(ORACLE)]
    flags = [f"--quota-backend-bytes={QUOTA}"]
    tls, peers = authority.tls(), authority.peer_tls()
    with LocalCluster(3, binary=binary, tls=tls, peer_tls=peers, flags=flags) as cluster:
        yield Patient(cluster, authority, request.param == "etcd")


def having(code: str, found: dict[str, Finding]) -> dict[str, Finding] | None:
    """Return what was found if a code is in it."""
    return found if code in found else None


def answered(ask: Callable[[], T]) -> T | None:
    """Return the answer, None if there is none yet."""
    return tried(ask)[0]


def test_one_endpoint_is_enough_to_find_nothing_wrong(patient: Patient) -> None:
    facts = patient.facts(patient.cluster.endpoints[1])
    assert {each.status is not None for each in facts.observed} == {True}
    assert len(facts.observed) == len(facts.members or ()) == 3
    assert len({each.hash for each in facts.observed}) == 1
    old = (facts.observed[0].before or facts.observed[0].after).version.startswith("3.5.")
    assert (facts.observed[0].hash is None) == old
    for each in facts.observed:
        assert each.clock is not None and each.clock.earliest < 0.5 and each.clock.latest > -0.5
        assert each.metrics_after is not None
    # The authority's, and those of client and peer URLs. (With the TLS 1.2 of etcd 3.5 a peer URL
    # asks for the client's certificate before its own can be read, which is told.)
    assert len({each.where for each in facts.certificates}) == (4 if old else 7)
    assert len(facts.certificate_errors) == (3 if old else 0)
    findings, passed = judge(facts)
    expected = EXPECTED | ({"certificate-unknown"} if old else set())
    assert {each.code for each in findings} <= expected
    assert len(passed) > 20


def test_the_command_prints_json_and_exits_by_the_worst_finding(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", *patient.cluster.endpoints, *patient.flags, "--interval=100ms", "--json"]
    assert diagnostics.main([*words, "--fail-on=critical"], {}) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["members"]) == 3 and found["exit"] == 0
    variables = {"ETCDCTL_ENDPOINTS": patient.cluster.endpoints[0]}
    words = ["doctor", *patient.flags, "--interval=100ms", "--fail-on=never", "--verbose"]
    assert diagnostics.main(words, variables) == 0
    assert patient.cluster.endpoints[2] in capsys.readouterr().out


def test_top_without_a_terminal_prints_once(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["top", patient.cluster.endpoints[1], *patient.flags, "--interval=200ms"]
    assert diagnostics.main([*words, "--json"], {}) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(each["role"] for each in found["members"]) == ["follower", "follower", "leader"]
    assert all(each["writes"] is not None for each in found["members"])
    assert found["leases"] is not None
    assert diagnostics.main([*words, "--once"], {}) == 0
    assert "3 members   leader rusd-" in capsys.readouterr().out


def test_top_in_a_terminal_pauses_ends_and_leaves_it_as_it_was(patient: Patient) -> None:
    us, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    rusd = str(Path(sys.executable).with_name("rusd"))
    words = [rusd, "top", *patient.cluster.endpoints, *patient.flags, "--interval=200ms"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "170", "LINES": "30"}
    process = subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    try:
        shown = Shown(us)
        shown.until("leader rusd-")
        shown.until("reads/s")
        os.write(us, b"p")
        shown.until("PAUSED")
        os.write(us, b"q")
        shown.until("\x1b[?1049l")
        assert process.wait(20) == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        process.kill()
        process.wait()
        os.close(us)
        os.close(terminal)


class Shown:
    """What a program wrote on a terminal."""

    def __init__(self, reader: int) -> None:
        self.text = ""
        self._reader = reader

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.text:
            assert time.monotonic() < deadline, self.text[-2000:]
            if select.select([self._reader], [], [], 0.5)[0]:
                self.text += os.read(self._reader, 65536).decode(errors="replace")


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def explained(
    patient: Patient, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the account as JSON; a word that is a number is a revision."""
    endpoints = f"--endpoints={','.join(patient.cluster.endpoints)}"
    code = diagnostics.main(["explain", *words, endpoints, *patient.flags, "--json"], {})
    return code, json.loads(capsys.readouterr().out)


def test_the_history_of_a_key_is_told_revision_by_revision(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = patient.call("lease/grant", {"TTL": "600"})["ID"]
    key = base64("told")
    for value in ('{"a": 1}', '{"a": 2}', '{"a": 2}'):
        patient.call("kv/put", {"key": key, "value": base64(value)})
    patient.call("kv/put", {"key": key, "value": base64("plain"), "lease": lease})
    patient.call("lease/revoke", {"ID": lease})
    code, found = explained(patient, capsys, "told")
    kinds = [each["kind"] for each in found["changes"]]
    assert (code, kinds) == (0, ["created", "changed", "unchanged", "changed", "deleted"])
    assert found["changes"][1]["difference"] == ['-  "a": 1', '+  "a": 2']
    assert found["changes"][-1]["certainty"] == "inferred"
    assert f"{int(str(lease)):x}" in found["changes"][-1]["text"]
    assert found["now"] is None and found["certainty"] == "measured"
    again = patient.call("kv/put", {"key": key, "value": base64("back")})["header"]
    assert isinstance(again, dict)
    code, found = explained(patient, capsys, "told", "--limit=2")
    assert [each["kind"] for each in found["changes"]] == ["deleted", "recreated"]
    assert found["count"] == 6
    last = str(found["changes"][0]["revision"] - 1)
    code, found = explained(patient, capsys, "told", f"--to-revision={last}", "--limit=1")
    assert [each["kind"] for each in found["changes"]] == ["changed"]

    code, found = explained(patient, capsys, str(again["revision"]))
    assert [each["key"]["text"] for each in found["changes"]] == ["told"]
    assert found["changes"][0]["kind"] == "recreated" or found["changes"][0]["version"] == 1


def test_a_revision_of_many_keys_is_told_whole_and_a_part_is_counted(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    puts = [
        {"requestPut": {"key": base64(f"many/{n}"), "value": base64("x" * 9000)}}
        for n in range(100)
    ]
    at = patient.call("kv/txn", {"success": puts})["header"]
    assert isinstance(at, dict)
    _, found = explained(patient, capsys, str(at["revision"]), "--limit=3")
    assert (found["count"], len(found["changes"])) == (100, 3)
    gone = {"key": base64("many/"), "range_end": base64("many0")}
    at = patient.call("kv/deleterange", gone)["header"]
    assert isinstance(at, dict)
    _, found = explained(patient, capsys, str(at["revision"]), "--limit=0")
    assert {each["text"] for each in found["changes"]} == {"deleted by a request"}
    assert found["count"] == 100


def test_what_is_compacted_is_said_to_be(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    revisions = []
    for number in range(5):
        made = patient.call("kv/put", {"key": base64("old"), "value": base64(f"value {number}")})
        assert isinstance(made["header"], dict)
        revisions.append(int(made["header"]["revision"]))
    patient.call("kv/compaction", {"revision": str(revisions[2])})
    code, found = explained(patient, capsys, "old")
    assert (code, found["compacted"], found["before"]["version"]) == (0, revisions[2], 3)
    assert [each["revision"] for each in found["changes"]] == revisions[3:]
    assert found["changes"][0]["kind"] == "changed"
    code, found = explained(patient, capsys, str(revisions[1]))
    assert (code, found["compacted"], found["changes"]) == (0, revisions[2], [])
    code, found = explained(patient, capsys, "never there")
    assert (code, found["count"], found["certainty"]) == (1, 0, "measured")
    assert explained(patient, capsys, "99999999")[0] == 1


def test_a_long_history_is_read_to_its_end(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A watch of history comes in several parts; the key is gone, so its end is not known."""
    puts = [{"requestPut": {"key": base64(f"other/{n}")}} for n in range(20)]
    for _ in range(60):
        patient.call("kv/txn", {"success": puts})
        patient.call("kv/put", {"key": base64("long"), "value": base64("x" * 60_000)})
    patient.call("kv/deleterange", {"key": base64("long")})
    _, found = explained(patient, capsys, "long", "--limit=2")
    assert (found["count"], found["changes"][-1]["kind"]) == (61, "deleted")


def test_a_killed_member_is_down_and_two_lose_the_quorum(broken: Patient) -> None:
    survivor = broken.cluster.leader()
    first, second = (number for number in range(3) if number != survivor)
    endpoint = broken.cluster.endpoints[survivor]
    with broken.back(first, second):
        broken.cluster.kill(first)
        # (The others notice by the connection that breaks.)
        found = wait(lambda: having("member-down", broken.found(endpoint)), "not down", 15)
        name = broken.cluster.members[first].name
        assert found["member-down"].severity == Severity.WARNING
        assert found["member-down"].subject.startswith(name)
        assert name in found["quorum-margin"].text
        broken.cluster.kill(second)
        assert broken.found(endpoint)["quorum-lost"].severity == Severity.CRITICAL


def test_a_stopped_process_is_silent(broken: Patient) -> None:
    victim = (broken.cluster.leader() + 1) % 3
    broken.cluster.pause(victim)
    try:
        found = broken.found()
        assert found["member-silent"].certainty == Certainty.MEASURED
        assert broken.cluster.members[victim].name in found["member-silent"].subject
    finally:
        broken.cluster.resume(victim)
        broken.cluster.wait_healthy()


def test_a_member_that_never_started_is_named(broken: Patient) -> None:
    url = "https://127.0.0.1:9"
    added = {"peerURLs": [url], "isLearner": True}
    # (Members that just came back are not counted as healthy yet.)
    made = wait(lambda: answered(lambda: broken.call("cluster/member/add", added)), "not added", 15)
    member = made["member"]
    assert isinstance(member, dict)
    try:
        found = broken.found()
        assert found["member-unstarted"].advice[-1].endswith(f"remove {int(member['ID']):x}")
        assert "even-voters" not in found
    finally:
        broken.call("cluster/member/remove", {"ID": member["ID"]})


def test_a_quota_that_is_near_or_reached_is_left_by_the_advice(broken: Patient) -> None:
    value = "A" * (4 * 300_000)
    with suppress(CallError):  # (the size that etcd tells is behind: the quota may be reached)
        while broken.size() < 0.82 * QUOTA:
            broken.call("kv/put", {"key": "YQ==", "value": value})
    found = broken.found()
    assert "quota" in found or "alarm-nospace" in found
    for _ in range(4):  # (a finding about a quota is of one member)
        for code in ("alarm-nospace", "quota"):
            if code in found:
                broken.follow(found[code].advice)
                found = broken.found()
    assert found == {}


def test_the_alarm_nospace_ends_by_the_advice(broken: Patient) -> None:
    member = broken.facts().observed[0].status
    assert member is not None
    raised = {"action": "ACTIVATE", "memberID": str(member.member), "alarm": "NOSPACE"}
    broken.call("maintenance/alarm", raised)
    found = broken.found()
    assert found["alarm-nospace"].severity == Severity.CRITICAL
    broken.follow(found["alarm-nospace"].advice)
    assert broken.found() == {}


def test_a_certificate_that_ended_is_seen_where_no_connection_is_made(broken: Patient) -> None:
    victim = (broken.cluster.leader() + 1) % 3
    shown = broken.authority.issue("short", ["127.0.0.1"], valid=timedelta(days=-1))
    with broken.back(victim):
        flags = [f"--cert-file={shown.cert}", f"--key-file={shown.key}"]
        broken.cluster.set_flags(victim, flags)
        broken.cluster.restart(victim)
        endpoint = broken.cluster.endpoints[victim]
        unverified = Gateway([endpoint], broken.access._replace(cacert=None, skip_verify=True))
        wait(lambda: answered(lambda: unverified.page("/version")), "no answer", 15)
        found = broken.found()
        assert found["certificate"].severity == Severity.CRITICAL
        assert endpoint in found["certificate"].subject


def test_with_authentication_a_user_is_asked_for(broken: Patient) -> None:
    broken.call("auth/user/add", {"name": "root", "password": "secret"})
    broken.call("auth/user/grant", {"user": "root", "role": "root"})
    broken.call("auth/enable", {})
    root = broken.access._replace(user="root", password="secret")
    try:
        unknown = [each for each in judge(broken.facts())[0] if each.certainty == Certainty.UNKNOWN]
        assert unknown
        assert "--user" in str(unknown) or broken.facts().observed[0].before is not None
        broken.access = root
        assert (facts := broken.facts()).auth is True, facts.auth_error
        assert broken.found() == {}
    finally:
        Gateway(broken.cluster.endpoints, root).call("auth/disable", {})
        broken.access = root._replace(user="", password="")


def test_endpoints_where_nothing_listens_are_critical(tmp_path: Path) -> None:
    assert diagnostics.main(["doctor", "127.0.0.1:9", "--interval=0s"], {}) == 2
    assert diagnostics.main(["doctor", "--interval=x"], {}) == diagnostics.BAD_ARGUMENTS
