"""The examples of clients in docs/testing.md, each in an environment of its own, on rusd and etcd.

An environment holds the client, grpcio and pytest; of rusd it gets the wheel without dependencies,
as docs/testing.md advises for clients that conflict with them. `make test-plugin` runs this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.clients.installation import BUILT, PYTHON, installed
from tests.plugin import examples
from tests.support.pair import command

HERE = Path(__file__).parent
CLIENTS = sorted(path.parent.name for path in HERE.glob("*/requirements.txt"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel of the tree, built without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    for name in ("rusd", "cluster"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(examples.ROOT / name, directory / "tree" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(examples.ROOT / name, directory / "tree")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(directory)]
    subprocess.run([*pip, *offline, str(directory / "tree")], check=True, timeout=120)
    with zipfile.ZipFile(next(directory.glob("rusd-*.whl"))) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


# (The first run installs the client.)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["rusd", "etcd"])
@pytest.mark.parametrize("client", CLIENTS)
def test_the_example_of_a_client_runs(
    client: str, server: str, wheel: Path, tmp_path: Path
) -> None:
    place = installed(HERE / client / "requirements.txt", BUILT / "examples" / client, PYTHON)
    examples.run(
        client,
        tmp_path,
        f"--etcd-binary={command(server)}",
        python=str(place / "venv" / "bin" / "python"),
        path=str(wheel),
    )
