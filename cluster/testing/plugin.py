"""Fixtures and options for pytest.

    etcd            one member for the whole run; its store is empty when a test begins
    etcd_cluster    three members, healthy and empty when its scope begins; by default a test
    etcd_clusters   makes clusters of any size and scope, with TLS and authentication

pytest loads this module in every run of an environment that has rusd. It therefore imports nothing
but pytest: the launcher is imported by the first fixture that is requested.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from .servers import Cluster

    #: Takes the size (default: 3) and the other arguments of `Cluster`; used as a context manager.
    Clusters = Callable[..., Cluster]

SCOPES = ("function", "class", "module", "package", "session")

#: Fixtures whose members' logs are attached to a failing test.
FIXTURES = {"etcd", "etcd_cluster", "etcd_clusters"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("etcd", "etcd for tests (rusd)")
    group.addoption(
        "--etcd-binary",
        metavar="COMMAND",
        help="run the members with this command, for instance etcd (default: rusd)",
    )
    group.addoption(
        "--etcd-keep",
        metavar="DIRECTORY",
        help="keep data and logs of the members below this directory",
    )
    group.addoption(
        "--etcd-cluster-scope",
        choices=SCOPES,
        help="scope of the fixture etcd_cluster (default: function)",
    )
    parser.addini("etcd_binary", "as --etcd-binary")
    parser.addini("etcd_cluster_scope", "as --etcd-cluster-scope", default="function")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what departs from the defaults."""
    binary, kept = _binary(config), config.getoption("--etcd-keep")
    parts = [f"binary {binary}"] * bool(binary) + [f"data kept in {kept}"] * bool(kept)
    return f"etcd: {', '.join(parts)}" if parts else None


def _binary(config: pytest.Config) -> str | None:
    found: str | None = config.getoption("--etcd-binary") or config.getini("etcd_binary")
    return found or None


def _scope(fixture_name: str, config: pytest.Config) -> Any:
    scope = config.getoption("--etcd-cluster-scope") or config.getini("etcd_cluster_scope")
    if scope not in SCOPES:
        raise pytest.UsageError(f"etcd_cluster_scope: {scope!r} is none of {', '.join(SCOPES)}")
    return scope


# --- fixtures -----------------------------------------------------------------------------------

_MADE = pytest.StashKey["list[Cluster]"]()
_MARKS = pytest.StashKey["dict[Any, int]"]()


@pytest.fixture(scope="session")
def etcd_clusters(request: pytest.FixtureRequest) -> Iterator[Clusters]:
    """Make clusters of the arguments of `Cluster`; what still runs ends with the test run."""
    import shlex
    import tempfile
    from pathlib import Path

    from .servers import Cluster

    config = request.config
    binary, kept = _binary(config), config.getoption("--etcd-keep")
    made = config.stash.setdefault(_MADE, [])

    def make(size: int = 3, **options: Any) -> Cluster:
        if binary is not None:
            options.setdefault("binary", shlex.split(binary))
        if kept is not None and "directory" not in options:
            Path(kept).mkdir(parents=True, exist_ok=True)
            options["directory"] = tempfile.mkdtemp(prefix=f"{size}-", dir=kept)
        cluster = Cluster(size, **options)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="session")
def _etcd_member(etcd_clusters: Clusters) -> Iterator[Cluster]:
    with etcd_clusters(1) as server:
        yield server


@pytest.fixture
def etcd(_etcd_member: Cluster) -> Cluster:
    """One member for the whole run; its store is empty when a test begins."""
    _etcd_member.reset()
    return _etcd_member


@pytest.fixture(scope="session")
def _etcd_three(etcd_clusters: Clusters) -> Iterator[Cluster]:
    with etcd_clusters(3) as cluster:
        yield cluster


@pytest.fixture(scope=_scope)
def etcd_cluster(_etcd_three: Cluster) -> Cluster:
    """Three members, healthy and empty when the scope (`--etcd-cluster-scope`) begins."""
    _etcd_three.reset()
    return _etcd_three


# --- logs ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note where the logs end before the fixtures of the test are set up."""
    if made := item.config.stash.get(_MADE, None):
        from . import logs

        item.stash[_MARKS] = logs.marks(made)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach to a failing test what its members wrote to their logs meanwhile."""
    report = yield
    made = item.config.stash.get(_MADE, None)
    if report.failed and made and FIXTURES.intersection(getattr(item, "fixturenames", ())):
        from . import logs

        report.sections.extend(logs.since(item.stash.get(_MARKS, {}), made))
    return report
