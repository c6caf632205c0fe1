"""Two samples in, figures out."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from rusd.diagnostics import command
from rusd.diagnostics.asking import Member, Status
from rusd.diagnostics.exposition import parse
from rusd.diagnostics.top.plain import TITLES, as_json, cells, table
from rusd.diagnostics.top.rates import Sample, view

MEMBER = Member(1, "m1", (), ("http://a",), False)


def status(**changed: Any) -> Status:
    plain: dict[str, Any] = dict(
        cluster=1, member=1, revision=9, version="3.7.3", leader=1, term=2, index=100, applied=100
    )
    more = dict(size=1000, in_use=600, quota=2000, learner=False, errors=())
    return Status(**(plain | more | changed))


def page(puts: int, ranges: int, fsyncs: int, cpu: float) -> Any:
    return parse(
        f"etcd_mvcc_put_total {puts}\netcd_mvcc_delete_total 0\netcd_mvcc_range_total {ranges}\n"
        f"process_cpu_seconds_total {cpu}\netcd_debugging_mvcc_watcher_total 7\n"
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="0.002"}} {fsyncs}\n'
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="+Inf"}} {fsyncs}\n'
    )


def test_rates_are_of_a_second_between_the_samples() -> None:
    before = Sample("http://a", 10.0, MEMBER, status(), page(100, 1000, 50, 1.0))
    now = Sample("http://a", 12.0, MEMBER, status(), page(140, 3000, 60, 1.5))
    (row,) = view({"http://a": before}, [now], 3, ()).rows
    assert (row.name, row.role, row.writes, row.reads, row.fsync) == (
        "m1",
        "leader",
        20,
        1000,
        0.002,
    )
    assert (row.cpu, row.watchers, row.quota, row.lag) == (0.25, 7, 2000, 0)


def test_a_first_sample_has_no_rates() -> None:
    now = Sample("http://a", 12.0, MEMBER, status(), page(140, 3000, 60, 1.5))
    (row,) = view({}, [now], None, ()).rows
    assert (row.writes, row.fsync, row.cpu, row.watchers) == (None, None, None, 7)


def test_roles_lag_and_members_that_are_away() -> None:
    samples = [
        Sample("http://a", 1.0, None, status(index=500, applied=500)),
        Sample("http://b", 1.0, None, status(member=2, leader=1, applied=450)),
        Sample("http://c", 1.0, None, status(member=3, learner=True)),
        Sample("http://d", 1.0, None, status(member=4, leader=0)),
        Sample("http://e", 1.0, None, error="connection refused"),
    ]
    found = view({}, samples, None, ("NOSPACE",))
    roles = ["leader", "follower", "learner", "no leader", "away"]
    assert [row.role for row in found.rows] == roles
    assert (found.rows[1].lag, found.away, found.leader) == (50, 1, "http://a")
    text = table(found)
    assert "1 away" in text and "ALARM NOSPACE" in text and "connection refused" in text
    assert all(len(cells(row)) == len(TITLES) for row in found.rows)
    assert [row["role"] for row in as_json(found)["members"]] == roles


def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importing = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.delitem(sys.modules, "rusd.diagnostics.top.screen", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert command.main(["top", "127.0.0.1:9"], {}) == command.FAILED
    assert "pip install 'rusd[tools]'" in capsys.readouterr().err
