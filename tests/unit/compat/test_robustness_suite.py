"""The harness of etcd's robustness suite: requests of a journal, outcome of a run, the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.auth.records import identity_of
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.commands import NO_OP, STAND_IN, encode_entry
from rusd.raft.log.journal import Journal
from rusd.state.command import Kind, LeaseExpiry, encode, sign
from tests.compat.etcd_suite.build import ADDED, OURS
from tests.compat.etcd_suite.page import with_sections
from tests.compat.etcd_suite.robustness.journal import entries, requests
from tests.compat.etcd_suite.robustness.runs import FAIL, PASS, SLOW, UNAVAILABLE, Run, read
from tests.compat.etcd_suite.robustness.scenarios import FAULTS, TRAFFICS, cases
from tests.compat.etcd_suite.robustness.table import section

VALID = """\
LOG Linearization success\t{"duration": "1s"}
LOG Watch validation success\t{"duration": "1s"}
LOG Serializable validation success\t{"duration": "1s"}
LOG Reporting complete traffic\t{"successes": 8, "failures": 3, "successRate": 0.7}
LOG Reporting complete watch\t{"requests": 4, "events": 20}
""".replace("LOG", "    logger.go:146: 2026-11-26T05:13:37.093Z\tINFO\t")
TOO_FEW = "    traffic.go:201: Requiring minimal 100.0 qps before failpoint injection, got 90 qps\n"
OTHER = "    main_test.go:118: etcdserver: request timed out\n"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "wal", segment_bytes=1 << 16)
    yield journal
    journal.close()


def put(key: bytes) -> bytes:
    return encode(Kind.PUT, rpc.PutRequest(key=key).SerializeToString())


def command(*payloads: bytes) -> bytes:
    return encode_entry([(1, number, payload) for number, payload in enumerate(payloads)])


def found(journal: Journal) -> list[tuple[int, int, bytes]]:
    return entries(journal.directory)


def test_entries_are_read_from_an_open_journal_up_to_its_last_flush(journal: Journal) -> None:
    journal.add(NO_OP, 1, 0)
    journal.add(command(put(b"a")), 2, 1)
    journal.flush()
    journal.add(command(put(b"b")), 3, 1)
    assert [index for index, _, _ in found(journal)] == [1, 2]
    journal.flush()
    assert [index for index, _, _ in found(journal)] == [1, 2, 3]


def test_an_entry_that_replaced_another_counts(journal: Journal) -> None:
    for index in (1, 2, 3):
        journal.add(command(put(b"old")), index, 1)
    journal.flush()
    journal.deleteEntriesFrom(1)
    journal.add(command(put(b"new")), 2, 2)
    journal.flush()
    assert [(index, term) for index, term, _ in found(journal)] == [(1, 1), (2, 2)]


def test_entries_before_a_snapshot_stay_and_its_stand_ins_are_left_out(journal: Journal) -> None:
    for index in (1, 2, 3):
        journal.add(command(put(b"key")), index, 1)
    journal.flush()
    journal.reset_to((STAND_IN, 8, 2), (STAND_IN, 9, 2))
    journal.add(command(put(b"after")), 10, 2)
    journal.flush()
    assert [(index, term) for index, term, _ in found(journal)] == [(1, 1), (2, 1), (3, 1), (10, 2)]


def test_a_journal_without_its_beginning_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal.add(NO_OP, 1, 0)
    journal.flush()
    copy = tmp_path / "copy"
    shutil.copytree(journal.directory, copy)
    (copy / "0000000000000001.wal").rename(copy / "0000000000000002.wal")
    with pytest.raises(ValueError, match="first segment"):
        entries(copy)


def test_requests_become_fields_of_an_internal_raft_request() -> None:
    grant = encode(Kind.LEASE_GRANT, rpc.LeaseGrantRequest(ID=7, TTL=60).SerializeToString())
    signed = sign(identity_of("root", 1), put(b"b"))
    attributes = encode(Kind.MEMBER_ATTRIBUTES, b"")
    assert list(requests(command(put(b"a"), attributes, grant, signed), 5)) == [
        b"\x22\x03\x0a\x01a",
        b"\x42\x04\x08\x3c\x10\x07",
        b"\x22\x03\x0a\x01b",
    ]
    assert list(requests(NO_OP, 5)) == []


def test_an_expiry_of_another_term_is_no_request() -> None:
    expiry = command(encode(Kind.LEASE_EXPIRE, LeaseExpiry(5, 300).encode()))
    assert list(requests(expiry, 5)) == [b"\x4a\x03\x08\xac\x02"]
    assert list(requests(expiry, 6)) == []


@pytest.mark.parametrize(
    ("output", "code", "result"),
    [
        (VALID, 0, PASS),
        ("--- SKIP: TestRobustnessExploratory\nPASS\n", 0, FAIL),
        (VALID + TOO_FEW, 1, SLOW),
        (VALID + TOO_FEW + OTHER, 1, FAIL),
        (VALID + OTHER, 1, FAIL),
        (VALID.replace("Watch validation success", "Watch validation failed"), 1, FAIL),
        ("    main_test.go:70: no available failpoints\n", 1, UNAVAILABLE),
        ("panic: test timed out", 2, FAIL),
    ],
)
def test_only_a_validated_run_passes(output: str, code: int, result: str) -> None:
    assert read("a", output, code).result == result


def test_requests_and_events_of_a_run_are_counted() -> None:
    assert read("a", VALID, 0) == Run("a", PASS, answered=8, failed=3, events=20)


def test_every_traffic_meets_every_fault() -> None:
    names = {case.name for case in cases()}
    assert {f"{traffic}/ClusterOfSize3/{fault}" for traffic in TRAFFICS for fault in FAULTS} < names
    assert len(names) == len(cases())


def test_the_page_sums_up_the_runs_of_each_case() -> None:
    case = cases()[0].name
    text = section([Run(case, PASS, 10, 2, 30), Run(case, FAIL, 1, 0, 0), Run(case, UNAVAILABLE)])
    assert (
        "2 runs of 1 cases, 13 requests and 30 watch events validated: 1 runs pass, 1 fail." in text
    )
    assert f"| {cases()[0].scenario} | {cases()[0].fault} | 2 | 13 | 1 of 2 fail |" in text


def test_a_section_takes_the_place_of_the_one_before() -> None:
    page = "# Page\n\nhead\n\n## a\n\nold\n\n## b\n\nstays\n"
    assert with_sections(page, {"a": "## a\n\nnew\n", "c": "## c\n"}) == (
        "# Page\n\nhead\n\n## a\n\nnew\n\n## b\n\nstays\n\n## c\n"
    )


def test_every_go_file_has_a_package() -> None:
    assert {path.name for path in OURS.iterdir()} == set(ADDED)
