"""The image under test, built once, and the engine's client."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

ROOT = Path(__file__).parents[2]

Run = Callable[..., Container]


def build(tag: str, *options: str) -> None:
    """Build the image from the tree and the wheels (`make wheels`)."""
    base = f"BASE_IMAGE={os.environ.get('RUSD_BASE_IMAGE', 'python:3.11-slim')}"
    # A build that fails leaves no container.
    always = ["--force-rm", "--file=cluster/Dockerfile", f"--build-arg={base}", f"--tag={tag}"]
    command = ["docker", "build", *always, *options, "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Iterator[str]:
    tag = f"rusd-test:{uuid.uuid4().hex[:8]}"
    build(tag)
    yield tag
    engine.images.remove(tag, noprune=False)


@pytest.fixture
def run(engine: docker.DockerClient, image: str) -> Iterator[Run]:
    """Start containers of the image, hardened; they are removed with their volumes."""
    started: list[Container] = []

    def start(**options: Any) -> Container:
        hardened = {
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
        }
        container = engine.containers.run(image, detach=True, **{**hardened, **options})
        started.append(container)
        return container

    yield start
    for container in started:
        print(container.logs(tail=20).decode())
        container.remove(force=True, v=True)
