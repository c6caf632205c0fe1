"""Wheel and sdist: accepted by the index, the same wherever they are built, of one version."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

import rusd
from tests.release.build import ROOT, Artefacts, absolute, build, clone, git
from tests.release.pythons import VERSIONS

pytestmark = pytest.mark.timeout(900)


def hashes(artefacts: Artefacts) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in artefacts]


def metadata(wheel: Path) -> list[tuple[str, str]]:
    with ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode()).items()


def test_twine_finds_nothing_to_object_to(artefacts: Artefacts) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, artefacts)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("[a](docs/a.md#b)", "[a](https://host/it/blob/main/docs/a.md#b)"),
        ("![a](docs/a.png)", "![a](https://host/it/raw/main/docs/a.png)"),
        ("[a](#b)", "[a](#b)"),
        ("[a](https://other/)", "[a](https://other/)"),
    ],
)
def test_relative_links_lead_to_the_repository(written: str, published: str) -> None:
    assert absolute(written, "https://host/it") == published


def test_the_page_at_the_index_has_no_relative_link(artefacts: Artefacts) -> None:
    with ZipFile(artefacts.wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        page = str(Parser().parsestr(archive.read(name).decode()).get_payload())
    targets = re.findall(r"\]\(([^)]+)\)", page)
    assert len(targets) > 20
    assert [each for each in targets if not each.startswith(("https://", "#"))] == []


def test_two_clones_give_the_same_bytes(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere, later, in another time zone, with other modes and another order of hashes."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    clone(tmp_path / "elsewhere" / "deeper")
    for path in (tmp_path / "elsewhere" / "deeper" / "rusd").rglob("*.py"):
        path.chmod(0o600)
    assert hashes(build(tmp_path / "elsewhere" / "deeper", tmp_path / "out")) == hashes(artefacts)


def test_the_version_is_that_of_the_package_everywhere(artefacts: Artefacts) -> None:
    fields = dict(metadata(artefacts.wheel))
    assert fields["Version"] == rusd.__version__
    assert artefacts.sdist.name == f"rusd-{rusd.__version__}.tar.gz"
    assert f"ARG VERSION={rusd.__version__}\n" in (ROOT / "cluster" / "Dockerfile").read_text()


def test_the_changelog_begins_with_this_version_or_what_is_unreleased() -> None:
    """A commit that carries the version's tag has its section on top, with a date."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    tagged = git(ROOT, "tag", "--points-at", "HEAD", f"v{rusd.__version__}")
    if tagged:
        assert re.fullmatch(rf"\[{re.escape(rusd.__version__)}\] - \d{{4}}-\d\d-\d\d", headings[0])
    else:
        assert headings[0] == "[Unreleased]"
        versions = [re.findall(r"^\[([\d.]+)\] - ", each) for each in headings[1:]]
        assert all(versions), headings
        assert all(tuple(v[0].split(".")) < tuple(rusd.__version__.split(".")) for v in versions)


def test_the_classifiers_name_the_pythons_that_are_tried(artefacts: Artefacts) -> None:
    prefix = "Programming Language :: Python :: 3."
    fields = metadata(artefacts.wheel)
    named = [text for name, text in fields if name == "Classifier" and text.startswith(prefix)]
    assert named == [f"{prefix}{version.removeprefix('3.')}" for version in VERSIONS]


def test_the_sdist_holds_what_the_wheel_holds_and_the_changelog(artefacts: Artefacts) -> None:
    top = f"rusd-{rusd.__version__}/"
    with tarfile.open(artefacts.sdist) as archive:
        inside = {name.removeprefix(top) for name in archive.getnames()}
    with ZipFile(artefacts.wheel) as archive:
        installed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.replace("rusd/cluster/", "cluster/", 1) for name in installed} <= inside
    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"} <= inside
