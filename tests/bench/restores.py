"""A member's data directory made of a large store's snapshot, or of a stopped etcd's directory."""

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


def wanted(members: int, plan: Plan) -> list[Row]:
    """Only in the largest cluster: how many members there are makes no difference."""
    titles = (
        f"snapshot restore of {plan.keys:,} keys, each its own file",
        f"migrate of an etcd's {plan.keys:,} keys, beside etcdutl's restore of their snapshot",
    )
    largest = members == max(plan.members)
    return [Row(title, "s", False) for title in titles if largest and plan.wants(members, title)]


def run(members: int, subjects: list[Subject], plan: Plan, rows: list[Row], table: Table) -> None:
    """Save a file of each server, and restore it once a turn."""
    table.rows += rows
    files = {subject.name: save(subject, plan) for subject in subjects}
    stopped = plan.scratch / "stopped-etcd"
    subprocess.run(
        [*etcdutl(), "snapshot", "restore", str(files["etcd"]), "--data-dir", str(stopped)],
        check=True,
        capture_output=True,
    )
    for row in rows:
        for turn in plan.turns():
            for subject in in_turn(subjects, turn):
                program = restore(subject.name, files[subject.name])
                if row.title.startswith("migrate") and subject.name == "rusd":
                    program = [*rusdutl(), "migrate", "--from", str(stopped)]
                row.add(subject.name, **timed(program, plan))
                say(f"{members}: {row.title}: {subject.name}: {row.latest(subject.name)}")
    shutil.rmtree(stopped)
    for file in files.values():
        file.unlink()


def rusdutl() -> list[str]:
    return [command("rusdutl")] if SUBJECT == "rusd" else etcdutl()


def restore(server: str, file: Path) -> list[str]:
    program = rusdutl() if server == "rusd" else etcdutl()
    return [*program, "snapshot", "restore", str(file)]


def save(subject: Subject, plan: Plan) -> Path:
    file = plan.scratch / f"{subject.name}.db"
    with Client(subject.endpoint("leader")) as client, file.open("wb") as out:
        for message in stream(client, SAVED):
            out.write(message.blob)
    return file


def timed(command: list[str], plan: Plan) -> dict[str, float]:
    """Make a data directory: wall and CPU seconds, and the most memory it had."""
    directory = plan.scratch / "restored"
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, "--data-dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LoadFailed(f"{command[0]} ended with exit code {process.returncode}")
    shutil.rmtree(directory)
    return {"s": wall, "CPU s": used.ru_utime + used.ru_stime, "MiB": used.ru_maxrss / 1024}
