"""Some schedules, that they are the same every time, and that they notice what they should."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import directories
from tests.sim.__main__ import failures, schedule
from tests.sim.mutants import caught


@pytest.mark.parametrize("first", range(1, 301, 50))
def test_schedules_keep_every_invariant(first: int) -> None:
    found, checks = failures(first, 50)
    logging.disable(logging.NOTSET)
    assert found == []
    assert checks > 10_000


@pytest.mark.parametrize("seed", [1, 8, 21])
def test_a_seed_gives_the_same_steps_whatever_the_hash_seed(seed: int) -> None:
    command = [sys.executable, "-m", "tests.sim", "--seed", str(seed)]
    traces = {
        subprocess.run(
            command, env={"PYTHONHASHSEED": hashing}, capture_output=True, text=True, check=True
        ).stdout
        for hashing in ("1", "2")
    }
    assert len(traces) == 1
    assert schedule(seed).run() in traces.pop()


def test_a_run_ended_by_sigterm_leaves_no_directory_and_no_process() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", "100000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        workers: list[int] = []
        while not any(_directories(worker) for worker in workers):
            assert run.poll() is None
            workers = [int(child) for child in children.read_text().split()]
        run.terminate()
        assert run.wait() == -signal.SIGTERM
    assert not [path for worker in workers for path in _directories(worker)]
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def test_the_directory_of_a_killed_run_is_removed_by_the_next() -> None:
    code = "from tests.sim import directories; print(directories.make(), flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdout is not None
        left = Path(run.stdout.readline().strip())
        directories.sweep()
        assert left.is_dir(), "its process is there"
        run.kill()
        run.wait()
    directories.sweep()
    assert not left.exists()


def _directories(process: int) -> list[Path]:
    return list(directories.parent().glob(f"rusd-sim-{process}-*"))


@pytest.mark.parametrize(
    "name",
    [
        "messages_leave_before_the_flush",
        "a_vote_is_forgotten",
        "the_disk_does_not_keep_what_it_says",
        "no_prevote",
        "stalls_count_as_silence",
        "reads_do_not_wait_for_an_entry_of_the_term",
        "proposed_again_at_every_new_term",
        "forwarded_twice_is_taken_twice",
        "acknowledgements_of_an_earlier_term",
        "copies_of_a_vote_count",
        "a_lost_disk_is_not_noticed",
        "a_member_in_quarantine_takes_part",
        "those_left_behind_are_not_told",
        "questions_are_numbered_alike_in_each_life",
        "questions_to_members_are_numbered_alike_in_each_life",
        "questions_are_replaced_when_they_are_repeated",
        "the_log_is_cut_before_the_state_is_durable",
        "what_a_lost_leader_sent_is_not_read",
    ],
)
def test_a_broken_remedy_is_noticed(name: str) -> None:
    """Those that show soon; all of them by `python -m tests.sim.mutants`."""
    found = caught(name, 150)
    logging.disable(logging.NOTSET)
    assert found is not None
