"""One control plane on three members with TLS for all tests, and a namespace for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.certificates import Authority
from cluster.kubernetes.plane import START_TIMEOUT, STORE_FLAGS, ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.support.pair import SUBJECT, command

#: Seconds that one test may take, its waits included.
TEST_TIMEOUT = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of the control plane's programs."""
    found = os.environ.get("RUSD_TEST_KUBERNETES")
    if found is None:
        pytest.fail("RUSD_TEST_KUBERNETES does not name the programs: make test-kubernetes")
    return Path(found)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Authority(tmp_path_factory.mktemp("tls")).tls(verify_clients=True)


@pytest.fixture(scope="session")
def members(tls: Tls) -> Iterator[LocalCluster]:
    made = LocalCluster(
        3,
        binary=[command(SUBJECT)],
        flags=STORE_FLAGS,
        tls=tls,
        start_timeout=START_TIMEOUT,
    )
    with made as running:
        yield running


@pytest.fixture(scope="session")
def plane(programs: Path, members: LocalCluster, tls: Tls) -> Iterator[ControlPlane]:
    flags = ["--event-ttl=5s", "--etcd-compaction-interval=60s"]
    with pytest.MonkeyPatch.context() as patch:
        # The API server ends if it finds a cache that differs from the store.
        patch.setenv("KUBE_WATCHCACHE_CONSISTENCY_CHECKER", "true")
        with ControlPlane(programs, members, tls, flags=flags) as running:
            yield running


@pytest.fixture
def namespace(request: pytest.FixtureRequest, plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own, with its service account."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-63:].strip("-")
    plane.kubectl("create", "namespace", name)
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
