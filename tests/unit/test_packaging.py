"""`pip install rusd` installs one complete top-level module, whose commands work."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import rusd

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the tree."""
    directory = tmp_path_factory.mktemp("wheel")
    for name in ("rusd", "cluster"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, directory / "tree" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, directory / "tree")
    built = directory / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(built)]
    subprocess.run([*pip, *offline, str(directory / "tree")], check=True, timeout=120)
    return next(built.glob("rusd-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel into a directory of its own."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the unpacked wheel first on its path, outside the tree."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def modules(top: Path, prefix: str) -> set[str]:
    return {f"{prefix}/{path.relative_to(top)}" for path in top.rglob("*.py")}


def test_the_wheel_has_one_top_level_module_and_it_is_rusd(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rusd"}


def test_the_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        published = {name for name in archive.namelist() if name.endswith(".py")}
    assert published == modules(ROOT / "rusd", "rusd") | modules(ROOT / "cluster", "rusd/cluster")


def test_the_wheel_holds_every_file_of_the_console(wheel: Path) -> None:
    site = ROOT / "rusd" / "console" / "site"
    files = {f"rusd/console/site/{path.relative_to(site)}" for path in site.rglob("*.*")}
    with zipfile.ZipFile(wheel) as archive:
        assert files <= {*archive.namelist()}


def test_the_launcher_imports_from_the_wheel_under_rusds_name(
    installed: Path, tmp_path: Path
) -> None:
    code = "import rusd.cluster.local as local; print(local.__file__)"
    done = run(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(installed / "rusd" / "cluster" / "local.py")


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        ("rusd.cluster.local", "python -m rusd.cluster.local"),
        ("rusd.cluster.chaos", "rusd-chaos"),
        ("rusd.cluster.chaos.failover", "python -m rusd.cluster.chaos.failover"),
        ("rusd.cluster.chaos.judge", "python -m rusd.cluster.chaos.judge"),
    ],
)
def test_the_commands_of_the_wheel_run_under_the_name_they_show(
    installed: Path, tmp_path: Path, module: str, shown: str
) -> None:
    done = run(installed, tmp_path, "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: {shown}" in done.stdout


def test_the_health_check_of_the_image_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    for name in ("cluster/Dockerfile", "docker-compose.yml"):
        assert '"-m", "rusd.cluster.healthcheck"' in (ROOT / name).read_text()
    done = run(installed, tmp_path, "-m", "rusd.cluster.healthcheck", "http://127.0.0.1:1/livez")
    assert (done.returncode, done.stderr) == (1, ""), "nothing listens there: unhealthy"


def test_the_image_takes_no_extra_unless_the_build_names_it() -> None:
    lines = (ROOT / "cluster" / "Dockerfile").read_text().splitlines()
    assert "ARG EXTRAS=" in lines
    named = [line for line in lines if "$EXTRAS" in line or "{EXTRAS" in line]
    script = 'for EXTRAS in "" s3,migrate; do echo "rusd${EXTRAS:+[$EXTRAS]}"; done'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rusd", "rusd[s3,migrate]"]
    assert len(named) == 2 and '"rusd${EXTRAS:+[$EXTRAS]}"' in named[0]


def test_the_lock_of_the_image_pins_every_dependency_by_hash() -> None:
    text = (ROOT / "cluster" / "image" / "requirements.txt").read_text()
    entries = [line.partition("==")[0] for line in text.splitlines() if "==" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split("[<>=]", each)[0] for each in project["dependencies"]}
    assert needed <= {*entries}
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text.strip()))


def test_the_image_is_labelled_with_the_version() -> None:
    text = (ROOT / "cluster" / "Dockerfile").read_text()
    assert f"ARG VERSION={rusd.__version__}\n" in text


def test_the_server_command_of_the_wheel_prints_its_version(
    installed: Path, tmp_path: Path
) -> None:
    done = run(installed, tmp_path, "-m", "rusd.cli", "--version")
    assert "rusd Version: " in done.stdout


def test_the_editable_install_has_the_same_names(tmp_path: Path) -> None:
    """Outside the tree, where only the installation can find them."""
    code = "import rusd.cluster.chaos.command, rusd.cluster.healthcheck"
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60
    )


def test_every_package_of_the_tree_is_listed_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    found = [
        ".".join((prefix + path.parent.relative_to(ROOT).as_posix()).split("/"))
        for top, prefix in (("rusd", ""), ("cluster", "rusd/"))
        for path in (ROOT / top).rglob("__init__.py")
    ]
    assert listed == sorted(found)


def imports(paths: Sequence[Path]) -> set[str]:
    """Top-level modules that any of these files imports, absolutely."""
    found = set[str]()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def test_the_cluster_room_never_imports_itself_by_a_name() -> None:
    """It has one name in the tree and another in the wheel."""
    assert "cluster" not in imports([*(ROOT / "cluster").rglob("*.py")])


def test_the_server_needs_no_grpcio_and_the_extras_that_do_ask_for_it() -> None:
    client = ROOT / "rusd" / "utl" / "download.py"
    assert "grpc" not in imports([one for one in (ROOT / "rusd").rglob("*.py") if one != client])
    assert "grpc" in imports([*(ROOT / "cluster").rglob("*.py")])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(each.startswith("grpcio") for each in project["dependencies"])
    extras = project["optional-dependencies"]
    for extra in ("cluster", "migrate"):
        assert any(each.startswith("grpcio") for each in extras[extra])
    assert "rusd[cluster]" in extras["chaos"]
    assert "rusd[chaos]" in extras["test"]
