"""The artefacts of HEAD, and environments that they are installed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release.build import Artefacts, build, clone
from tests.release.environments import Environment
from tests.release.pythons import pythons


def pytest_report_header() -> str:
    return "Pythons: " + ", ".join(
        f"{version} ({python.root.name if python.root else 'here'})"
        for version, python in pythons().items()
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take `installed` run on every Python, from the wheel and from the sdist."""
    if "installed" in metafunc.fixturenames:
        cases = [(version, kind) for version in pythons() for kind in Artefacts._fields]
        ids = [f"{version}-{kind}" for version, kind in cases]
        metafunc.parametrize("installed", cases, ids=ids, indirect=True, scope="module")


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    directory = tmp_path_factory.mktemp("artefacts")
    clone(directory / "tree")
    return build(directory / "tree", directory / "out")


@pytest.fixture(scope="module")
def installed(
    request: pytest.FixtureRequest, artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """rusd with what its fixtures need, from the wheel or the sdist."""
    version, kind = request.param
    directory = tmp_path_factory.mktemp(f"{version}-{kind}")
    environment = Environment(pythons()[version], directory)
    source: Path = getattr(artefacts, kind)
    # In the directory that a root of another Debian sees.
    copy = directory / source.name
    copy.write_bytes(source.read_bytes())
    environment.install(f"{copy}[testing]")
    return environment
