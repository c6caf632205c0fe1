"""The artefacts of HEAD, and environments that they are installed in."""

from __future__ import annotations

import pytest

from tests.release.build import Artefacts, build, clone
from tests.release.environments import Environment
from tests.release.pythons import VERSIONS, pythons


def pytest_report_header() -> list[str]:
    taken = ", ".join(
        f"{version} ({python.root.name if python.root else 'here'})"
        for version, python in pythons().items()
    )
    absent = ", ".join(version for version in VERSIONS if version not in pythons())
    return [f"Pythons: {taken}", *([f"Pythons that are NOT tried: {absent}"] if absent else [])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take `installed` run on every Python."""
    if "installed" in metafunc.fixturenames:
        metafunc.parametrize("installed", pythons(), indirect=True, scope="module")


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    directory = tmp_path_factory.mktemp("artefacts")
    clone(directory / "tree")
    return build(directory / "tree", directory / "out")


@pytest.fixture(scope="module")
def installed(
    request: pytest.FixtureRequest, artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """rusd with what its fixtures need, from the sdist."""
    directory = tmp_path_factory.mktemp(request.param)
    environment = Environment(pythons()[request.param], directory)
    environment.install(f"{environment.shared(artefacts.sdist)}[testing]")
    return environment
