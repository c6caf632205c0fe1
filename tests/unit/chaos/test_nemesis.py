"""The nemesis carries out a schedule, notes what it did, and leaves nothing broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import pytest

from cluster.chaos.history import History
from cluster.chaos.nemesis import Nemesis
from cluster.chaos.network import CLEAR, CUT, Link, Rule
from cluster.chaos.schedule import Step

#: As drawn: members by the first, rates by the others.
DRAWN = (0.5, 0.0, 0.0, 0.0)


class Links:
    able = frozenset(("cut", "delay", "loss"))

    def __init__(self, told: list[str]) -> None:
        self.rules: dict[Link, Rule] = {}
        self._told = told

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        self.rules |= dict.fromkeys(links, rule)


class Members:
    """The part of a cluster that the nemesis uses; records calls instead of making them."""

    size = 3

    def __init__(self, leader: int | None = 0) -> None:
        self.told: list[str] = []
        self.network = Links(self.told)
        self.leader = leader
        self.stuck = False
        self.failed = threading.Event()

    def names(self, members: Sequence[int]) -> tuple[str, ...]:
        return tuple(f"m{member}" for member in members)

    def current_leader(self) -> int | None:
        return self.leader

    def kill(self, member: int) -> None:
        self.told.append(f"kill {member}")

    def start_again(self, member: int) -> None:
        if self.stuck:
            self.failed.set()
            raise OSError("it does not start")
        self.told.append(f"start {member}")

    def pause(self, member: int) -> None:
        self.told.append(f"pause {member}")

    def resume(self, member: int) -> None:
        self.told.append(f"resume {member}")

    def note_ends(self) -> None:
        """Nobody ends here."""

    def heal(self) -> None:
        self.told.append("heal")


def step(kind: str, lasts: float = 0.01, overlaps: bool = False) -> Step:
    return Step(0.01, kind, lasts, DRAWN, overlaps)


def run(members: Members, *steps: Step, until: float = 60.0) -> History:
    history = History()
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    nemesis = Nemesis(members, history, clock, lambda *_: None)  # type: ignore[arg-type]
    nemesis.run(steps, until)
    return history


def test_one_fault_is_healed_before_the_next_begins() -> None:
    members = Members()
    run(members, step("kill-one"), step("pause-leader"))
    assert members.told == ["kill 1", "start 1", "pause 0", "resume 0", "heal"]


def test_an_overlapping_fault_begins_while_the_one_before_is_there() -> None:
    members = Members()
    run(members, step("kill-one", lasts=0.5), step("pause-leader", overlaps=True))
    assert members.told == ["kill 1", "pause 0", "resume 0", "start 1", "heal"]


def test_every_fault_is_recorded_with_its_members_and_times() -> None:
    history = run(Members(leader=2), step("kill-leader", lasts=0.05), step("kill-majority"))
    first, second = history.faults
    assert (first.number, first.kind, first.targets) == (1, "kill-leader", ("m2",))
    assert (second.number, second.kind, second.targets) == (2, "kill-majority", ("m1", "m2"))
    assert first.began + 0.05 <= first.ended <= second.began


def test_without_a_leader_the_member_that_was_drawn_is_hit() -> None:
    (fault,) = run(Members(leader=None), step("kill-leader")).faults
    assert fault.targets == ("m1",)


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("partition-leader", {(0, 1), (0, 2), (1, 0), (2, 0)}),
        ("leader-cannot-send", {(0, 1), (0, 2)}),
        ("leader-cannot-hear", {(1, 0), (2, 0)}),
        ("one-link", {(1, 2), (2, 1)}),
        ("one-way", {(1, 2)}),
    ],
)
def test_a_partition_cuts_its_links_and_no_others(kind: str, cut: set[Link]) -> None:
    members = Members()
    during: set[Link] = set()
    set_rule = members.network.set

    def watch(links: Iterable[Link], rule: Rule) -> None:
        set_rule(links, rule)
        during.update(link for link, its in members.network.rules.items() if its == CUT)

    members.network.set = watch  # type: ignore[method-assign]
    run(members, step(kind))
    assert during == cut
    assert set(members.network.rules.values()) == {CLEAR}


def test_no_fault_begins_when_the_time_is_over_and_everything_is_healed() -> None:
    members = Members()
    assert run(members, step("kill-one"), until=0.0).faults == []
    assert members.told == ["heal"]


def test_a_fault_that_cannot_be_healed_is_an_error_of_the_run() -> None:
    members = Members()
    members.stuck = True
    with pytest.raises(OSError, match="does not start"):
        run(members, step("kill-one"))


def test_no_step_begins_after_one_that_could_not_be_healed() -> None:
    members = Members()
    members.stuck = True
    with pytest.raises(OSError, match="does not start"):
        run(members, step("kill-one"), step("pause-leader"))
    assert members.told == ["kill 1", "heal"]


def test_an_error_of_healing_is_told_in_place_of_the_one_it_causes() -> None:
    members = Members()
    members.stuck = True

    def find_no_leader() -> None:
        members.failed.wait(10)
        raise TimeoutError("no leader")

    members.current_leader = find_no_leader  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="does not start"):
        run(members, step("kill-one"), step("pause-leader", overlaps=True))
