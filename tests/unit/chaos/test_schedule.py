"""Schedules: drawn from a seed, kept, and carried out again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from cluster.chaos.faults import possible
from cluster.chaos.schedule import ALONE, KINDS, draw, load, save
from cluster.chaos.subject import Subject


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert draw(7, 300.0, KINDS) == draw(7, 300.0, KINDS)


def test_another_seed_draws_another_schedule() -> None:
    assert draw(7, 300.0, KINDS) != draw(8, 300.0, KINDS)


def test_the_order_in_which_kinds_are_named_does_not_matter() -> None:
    assert draw(7, 100.0, ["loss", "delay"]) == draw(7, 100.0, ["delay", "loss"])


def test_a_schedule_comes_back_from_its_file(tmp_path: Path) -> None:
    steps = draw(7, 60.0, KINDS)
    save(steps, tmp_path / "schedule.json")
    assert load(tmp_path / "schedule.json") == steps


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"kind": "kill-one"}]'])
def test_what_is_no_schedule_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedule.json").write_text(text)
    with pytest.raises(ValueError, match="is no schedule"):
        load(tmp_path / "schedule.json")


def test_a_schedule_with_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    save(draw(7, 5.0, ["kill-one"]), path)
    path.write_text(path.read_text().replace("kill-one", "flood"))
    with pytest.raises(ValueError, match="unknown kind of fault flood"):
        load(path)


@pytest.mark.parametrize("kinds", [[], ["flood"], ["kill-one", "flood"]])
def test_unknown_kinds_and_none_at_all_are_refused(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match="unknown kinds"):
        draw(7, 60.0, kinds)


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_plan_for_two_hundred_faults_of_every_kind(seed: int) -> None:
    steps = draw(seed, 540.0, KINDS)
    assert len(steps) >= 200
    assert {step.kind for step in steps} == set(KINDS)
    assert any(step.overlaps for step in steps)


def test_each_fault_lasts_as_long_as_its_kind_may() -> None:
    for step in draw(7, 600.0, KINDS):
        _, least, most = KINDS[step.kind]
        assert least <= step.lasts <= most


def test_without_a_network_and_disks_of_its_own_a_cluster_suffers_in_its_processes_alone() -> None:
    kinds = possible(Subject(network="none", with_disks=False))
    assert "kill-leader" in kinds and "pause-one" in kinds
    assert not {"partition-leader", "delay", "loss", "slow-disk", "full-disk"} & set(kinds)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_overlaps_a_lost_disk(seed: int) -> None:
    steps = draw(seed, 540.0, KINDS)
    assert {step.kind for step in steps} >= ALONE
    for before, step in pairwise(steps):
        assert not (step.overlaps and ALONE & {before.kind, step.kind})
