"""What chaos on containers needs no engine for: rules of links, clocks, faults, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.chaos import command, filters
from cluster.chaos.containers.clock import INSIDE, Clock, environment, library
from cluster.chaos.faults import possible
from cluster.chaos.filters import FilteredNetwork
from cluster.chaos.network import CUT, Rule
from cluster.chaos.subject import Subject
from cluster.local import rusd_command
from cluster.process import Member

OF_CONTAINERS = {
    "disconnect-one",
    "disconnect-leader",
    "out-of-memory",
    "clock-jump",
    "other-image",
    "rolling-upgrade",
    "restart-engine",
}


class Filtered(FilteredNetwork):
    """Three members, of which one does not run."""

    def enter(self, member: int) -> list[str]:
        return [] if member == 2 else [f"enter-{member}"]

    def address(self, member: int) -> str:
        return f"10.0.0.{member}"

    def close(self) -> None:
        """There is nothing to undo."""


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Prefix of the command that enters a namespace -> the rules there."""
    found: dict[str, list[str]] = {}

    def replace(enter: Sequence[str], rules: Sequence[str]) -> None:
        found[enter[0]] = list(rules)

    monkeypatch.setattr(filters, "replace", replace)
    return found


def test_a_rule_of_one_direction_is_set_at_the_receiver_alone(
    filtered: dict[str, list[str]],
) -> None:
    network = Filtered(3)
    network.set([(0, 1)], CUT)
    assert filtered == {"enter-0": [], "enter-1": ["-A INPUT -s 10.0.0.0/32 -j DROP"]}
    network.set([(1, 0)], Rule(loss=0.25))
    assert filtered["enter-0"] == [
        "-A INPUT -s 10.0.0.1/32 -m statistic --mode random --probability 0.2500 -j DROP"
    ]
    network.heal()
    assert filtered == {"enter-0": [], "enter-1": []}


def test_a_member_that_starts_while_its_link_is_cut_gets_the_rule(
    filtered: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Filtered(3)
    network.set([(0, 2)], CUT)
    assert "enter-2" not in filtered
    monkeypatch.setattr(network, "enter", lambda member: [f"enter-{member}"])
    network.apply_to(2)
    assert filtered["enter-2"] == ["-A INPUT -s 10.0.0.0/32 -j DROP"]


def test_links_are_delayed_only_where_the_kernel_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for code, able in ((0, True), (2, False)):

        def run(*_: object, code: int = code, **__: object) -> subprocess.CompletedProcess[bytes]:
            return subprocess.CompletedProcess([], code)

        monkeypatch.setattr(subprocess, "run", run)
        network = Filtered(3)
        network.look_for_netem(["enter"])
        assert ("delay" in network.able) is able


def test_members_in_containers_get_flags_alone_for_the_entry_point_of_their_image() -> None:
    for subject, command_line in ((None, []), ("rusd", rusd_command())):
        described = Subject(subject, network="none", with_disks=False)
        described.members = [Member("rusd-1", Path("/data"), (2379, 2380, 2381), "127.0.0.1")]
        name = described.command(0).index("--name=rusd-1")
        assert described.command(0)[:name] == command_line


def test_processes_get_none_of_the_faults_of_containers_and_the_report_does_not_miss_them() -> None:
    processes = Subject(network="none", with_disks=False)
    assert not OF_CONTAINERS & set(possible(processes))
    missing = processes.unavailable()
    assert any("disks" in text for text in missing)
    assert not any("engine" in text for text in missing)


def test_every_fault_of_containers_is_possible_where_the_subject_is_able_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = frozenset(("disconnect", "memory", "clock", "images", "engine"))
    monkeypatch.setattr(Subject, "able", property(lambda _: every))
    assert set(possible(Subject(network="none", with_disks=False))) >= OF_CONTAINERS


def test_a_clock_is_moved_and_put_back_by_a_file_that_is_never_half_written(
    tmp_path: Path,
) -> None:
    library = tmp_path / "libfaketime.so.1"
    library.touch()
    clock = Clock(tmp_path / "clock", library)
    offset = tmp_path / "clock" / "offset"
    assert float(offset.read_text()) == 0
    first = offset.stat().st_ino
    clock.move(-3600)
    assert offset.read_text() == "-3600\n"
    assert offset.stat().st_ino != first
    clock.move(0.5)
    assert offset.read_text() == "+0.5\n"
    assert {path.name for path in offset.parent.iterdir()} == {"offset", "libfaketime.so.1"}


#: A wait of 50 ms for a condition that never comes, by the monotonic clock, as Python's threads
#: wait for each other; then whether the wall clock was moved, and the wait lasted.
WAIT = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
attributes, condition, mutex = (ctypes.create_string_buffer(64) for _ in range(3))
libc.pthread_condattr_init(attributes)
libc.pthread_condattr_setclock(attributes, time.CLOCK_MONOTONIC)
libc.pthread_cond_init(condition, attributes)
libc.pthread_mutex_init(mutex, None)
libc.pthread_mutex_lock(mutex)
begun = time.monotonic_ns()
until = (ctypes.c_long * 2)(*divmod(begun + 50_000_000, 1_000_000_000))
libc.pthread_cond_timedwait(condition, mutex, until)
print(time.time() - float(sys.argv[1]) > 3000, time.monotonic_ns() - begun >= 50_000_000)
"""


@pytest.mark.skipif(library() is None, reason="libfaketime is missing")
def test_a_moved_clock_leaves_waits_by_the_monotonic_clock_alone(tmp_path: Path) -> None:
    found = library()
    assert found is not None
    Clock(tmp_path / "clock", found).move(3600)
    here = {
        key: text.replace(INSIDE, str(tmp_path / "clock")) for key, text in environment().items()
    }
    done = subprocess.run(
        [sys.executable, "-c", WAIT, str(time.time())],
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True True\n"


@pytest.mark.parametrize(
    "options", [["--engine", "own"], ["--other-image", "rusd:previous"], ["--clocks"]]
)
def test_options_of_containers_are_refused_for_processes(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--time", "1", *options]) == 2
    assert capsys.readouterr().err == "--other-image, --engine and --clocks need --image\n"
