"""What a user does after `pip install rusd`, on every Python; wheel and sdist bring the same."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest

import rusd
from cluster.local import LocalCluster
from tests.release.build import ROOT, Artefacts
from tests.release.environments import Environment

pytestmark = pytest.mark.timeout(900)

#: Commands, and how each is asked for its version.
VERSION = {"rusd": "--version", "rusdctl": "version", "rusdutl": "version", "rusd-chaos": ""}

TEST = """
from rusd.testing import Cluster

def call(etcd):
    return etcd.url

def test_the_fixture_serves(etcd: Cluster) -> None:
    assert call(etcd).startswith("http://127.0.0.1:")

def test_a_cluster_has_a_leader(etcd_cluster: Cluster) -> None:
    assert etcd_cluster.leader() in range(3)
"""


def test_the_wheel_brings_the_files_that_the_sdist_brings(
    installed: Environment, artefacts: Artefacts
) -> None:
    of_sdist = installed.files()
    assert len(of_sdist) > 100
    wheel = installed.shared(artefacts.wheel)
    installed.install("--no-deps", "--force-reinstall", str(wheel))
    assert installed.files() == of_sdist


def test_every_command_says_its_version_and_helps(installed: Environment) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts.keys() == VERSION.keys()
    for name, asked in VERSION.items():
        assert name in installed.run(name, "--help")
        if asked:
            assert rusd.__version__ in installed.run(name, asked)


def test_the_package_is_the_installed_one(installed: Environment) -> None:
    code = "import rusd, sys; print([rusd.__file__, rusd.__version__, sys.version_info[:2]])"
    file, version, python = ast.literal_eval(installed.run("python", "-c", code))
    assert Path(file).is_relative_to(installed.bin.parent)
    assert version == rusd.__version__
    assert "{}.{}".format(*python) == installed.python.version


def test_the_server_for_tests_is_imported_and_serves(installed: Environment) -> None:
    code = "import rusd.testing as t\nwith t.Server() as s: print(s.endpoint)"
    assert installed.run("python", "-c", code).startswith("127.0.0.1:")


def test_a_member_serves_keys_and_console_and_its_snapshot_is_restored(
    installed: Environment,
) -> None:
    saved, restored = installed.home / "saved.db", installed.home / "restored"
    command = installed.command("rusd")
    with LocalCluster(1, binary=command, env=installed.variables(), directory=saved.parent) as one:
        ctl = ["--endpoints", one.endpoints[0]]
        assert installed.run("rusdctl", *ctl, "put", "greeting", "hello") == "OK\n"
        assert installed.run("rusdctl", *ctl, "get", "greeting") == "greeting\nhello\n"
        installed.run("rusdctl", *ctl, "snapshot", "save", str(saved))
        with urlopen(f"http://{one.endpoints[0]}/console/", timeout=10) as page:
            assert page.read().lower().startswith(b"<!doctype html>")
    status = installed.run("rusdutl", "snapshot", "status", str(saved))
    assert status.split(", ")[1] == "2", status
    installed.run("rusdutl", "snapshot", "restore", str(saved), "--data-dir", str(restored))
    flags = [f"--data-dir={restored}"]
    with LocalCluster(
        1, binary=command, env=installed.variables(), directory=saved.parent, flags=flags
    ) as one:
        ctl = ["--endpoints", one.endpoints[0]]
        assert installed.run("rusdctl", *ctl, "get", "greeting") == "greeting\nhello\n"
    assert one.members[0].exit_code == 0


def test_the_fixtures_of_pytest_are_there_without_more_setup(installed: Environment) -> None:
    (installed.home / "test_user.py").write_text(TEST)
    assert "2 passed" in installed.run("python", "-m", "pytest", "-q", "test_user.py")
