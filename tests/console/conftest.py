"""The cluster, the browser and a page of it that must stay free of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from cluster.local import LocalCluster
from tests.console.browser import Console, chromium
from tests.support.client import Client

#: Opens the console of the member at an index, or at a URL.
Open = Callable[[int | str], Console]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as running:
        yield running


@pytest.fixture
def cluster(running_cluster: LocalCluster) -> Iterator[LocalCluster]:
    """Three members, shared by all tests; those that a test killed are started again."""
    yield running_cluster
    running_cluster.start_all()
    running_cluster.wait_healthy()


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """A client of the first member, on an empty store without leases."""
    with Client(cluster.endpoints[0]) as first:
        first.delete(b"\0", b"\0")
        for lease in first.leases().leases:
            first.revoke(lease.ID)
        yield first


@pytest.fixture
def open_console(browser: Browser, cluster: LocalCluster) -> Iterator[Open]:
    """Open consoles in tabs of their own; fail the test if one of them recorded a problem."""
    opened: list[Console] = []

    def open_one(member: int | str) -> Console:
        url = member if isinstance(member, str) else cluster.members[member].client_url
        opened.append(Console(browser, url))
        return opened[-1]

    yield open_one
    for console in opened:
        console.close()
    problems = [problem for console in opened for problem in console.problems]
    assert not problems, "\n".join(problems)


@pytest.fixture
def console(open_console: Open) -> Console:
    """The console of the first member."""
    return open_console(0)
