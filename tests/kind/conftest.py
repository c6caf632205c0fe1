"""One kind cluster for all tests of as many control planes, and a namespace for each test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, write_config

#: Seconds that one test may take; the first starts the cluster.
TEST_TIMEOUT = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster; with a parameter: of so many control planes."""
    image = os.environ.get("RUSD_TEST_KIND")
    if image is None:
        pytest.fail("RUSD_TEST_KIND does not name the node's image: make test-kind")
    config = write_config(tmp_path_factory.mktemp("kind") / "config.yaml")
    with Cluster(config, image, getattr(request, "param", 1)) as made:
        yield made


@pytest.fixture
def namespace(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, with its service account."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-63:].strip("-")
    cluster.kubectl("create", "namespace", name)
    wait = ("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    cluster.kubectl(*wait)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
