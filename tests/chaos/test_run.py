"""The whole harness on a real cluster: faults are made, and the verdicts hold for rusd and etcd."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cluster.chaos import command, schedule
from cluster.chaos.history import History, Outcome
from tests.support.known import ETCD_FROM_PYPI

#: Seconds of faults.
TIME = 15


def run(directory: Path, *arguments: str) -> History:
    """A run that must end well, by the command that users give."""
    options = ["--time", str(TIME), "--seed", "7", "--report", str(directory), *arguments]
    assert command.main(options) == 0
    return History.load(directory / "history.jsonl")


@pytest.mark.parametrize("subject", ["rusd", "etcd"])
@pytest.mark.parametrize("network", ["proxy", "auto"])
def test_all_verdicts_hold_while_members_links_and_disks_break(
    tmp_path: Path, subject: str, network: str
) -> None:
    known = ETCD_FROM_PYPI if subject == "etcd" else []
    history = run(tmp_path, "--subject", subject, "--network", network, *known)
    assert history.faults and history.leaders
    outcomes = Counter(operation.outcome for operation in history.operations)
    assert outcomes[Outcome.OK] > 100
    assert len(history.finals) == 3 and len({final.hash for final in history.finals}) == 1
    assert {delivery.kind for delivery in history.deliveries} >= {"created", "events"}
    assert history.leases and history.locks
    assert {path.suffix for path in tmp_path.iterdir()} >= {".html", ".json", ".jsonl"}


@pytest.mark.parametrize("subject", ["rusd", "etcd"])
def test_a_member_that_lost_its_disk_is_refused_and_replaced(tmp_path: Path, subject: str) -> None:
    known = ETCD_FROM_PYPI if subject == "etcd" else []
    history = run(tmp_path, "--subject", subject, "--faults", "wipe-member", *known)
    assert {fault.kind for fault in history.faults} == {"wipe-member"}
    assert len(history.finals) == 3


def test_a_schedule_of_another_run_is_carried_out_again(tmp_path: Path) -> None:
    steps = schedule.draw(3, 4.0, ["kill-one", "pause-one"])
    schedule.save(steps, tmp_path / "mine.json")
    history = run(
        tmp_path / "report",
        "--network",
        "none",
        "--no-disks",
        "--schedule",
        str(tmp_path / "mine.json"),
    )
    assert [fault.kind for fault in sorted(history.faults, key=lambda one: one.number)] == [
        step.kind for step in steps
    ]
