"""Shared by the tests of a whole cluster: where real etcd is, and clusters of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.local import LocalCluster
from tests.support.pair import command


@pytest.fixture(scope="session")
def etcd_binary() -> list[str]:
    """The launcher's tests run real etcd: it answers like rusd and depends on nothing here."""
    return [command("etcd")]


@pytest.fixture
def etcd_cluster(etcd_binary: list[str]) -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=etcd_binary) as running:
        yield running
