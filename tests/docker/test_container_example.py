"""The example of a container in docs/testing.md, on the image."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from tests.plugin import examples

#: Label of the containers that rusd.testing starts.
LABEL = {"label": "rusd-testing"}


def test_the_container_of_the_example_serves_and_is_removed(
    engine: docker.DockerClient, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSD_TEST_IMAGE", image)
    examples.run("container", tmp_path)
    ours = [
        each for each in engine.containers.list(all=True, filters=LABEL) if image in each.image.tags
    ]
    assert ours == []
