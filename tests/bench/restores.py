"""A member's data directory made of the snapshot of a large store, by rusdutl and by etcdutl."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.bench.load import LoadFailed
from tests.bench.plan import Plan, say
from tests.bench.rows import Row, Table
from tests.bench.subjects import Subject, in_turn
from tests.support.client import Client
from tests.support.pair import SUBJECT, command, etcdutl
from tests.support.snapshots import stream

HEADING = "Snapshots: rusdutl beside etcdutl"
#: Seconds a snapshot of a million keys may take to be saved.
SAVED = 300.0


def wanted(members: int, plan: Plan) -> Row | None:
    """Only in the largest cluster: how many members there are makes no difference."""
    row = Row(f"snapshot restore of {plan.keys:,} keys, each its own file", "s", False)
    return row if members == max(plan.members) and plan.wants(members, row.title) else None


def run(members: int, subjects: list[Subject], plan: Plan, row: Row, table: Table) -> None:
    """Save a file of each server, and restore it once a turn."""
    table.rows.append(row)
    files = {subject.name: save(subject, plan) for subject in subjects}
    for turn in plan.turns():
        for subject in in_turn(subjects, turn):
            wall, processor = restored(subject.name, files[subject.name], plan)
            row.add(subject.name, **{"s": wall, "CPU s": processor})
            say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")
    for file in files.values():
        file.unlink()


def save(subject: Subject, plan: Plan) -> Path:
    file = plan.scratch / f"{subject.name}.db"
    with Client(subject.endpoint("leader")) as client, file.open("wb") as out:
        for message in stream(client, SAVED):
            out.write(message.blob)
    return file


def restored(server: str, file: Path, plan: Plan) -> tuple[float, float]:
    """Wall and CPU seconds of a restore."""
    program = [command("rusdutl")] if server == SUBJECT == "rusd" else etcdutl()
    directory = plan.scratch / f"{server}-restored"
    started = time.monotonic()
    process = subprocess.Popen(
        [*program, "snapshot", "restore", str(file), "--data-dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LoadFailed(f"{program[0]} ended with exit code {process.returncode}")
    shutil.rmtree(directory)
    return wall, used.ru_utime + used.ru_stime
