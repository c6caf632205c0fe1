"""Installs clients below `build/clients` and gives the commands that run their scripts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[1] / "build" / "clients"
#: Seconds an installation may take, and a script.
INSTALL_TIMEOUT, RUN_TIMEOUT = 600, 160


#: Install Python packages; the manifest is a `requirements.txt`.
PYTHON = (
    (sys.executable, "-m", "venv", "venv"),
    ("venv/bin/python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"),
)


def installed(manifest: Path, place: Path, commands: Sequence[Sequence[str]]) -> Path:
    """Run `commands` in `place`, beside a copy of `manifest`, unless this very manifest is
    installed there; returns the place. FileNotFoundError names the tool (npm, mvn) that this
    machine lacks.
    """
    stamp, wanted = place / "installed", hashlib.sha256(manifest.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shutil.copy(manifest, place)
    for command in commands:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    stamp.write_text(wanted)
    return place


@dataclass(frozen=True)
class Client:
    """A client library and its scripts."""

    #: Name of its directory.
    name: str
    #: Says which version is installed.
    manifest: str
    #: Suffix of its scripts.
    suffix: str
    #: Commands that install it, run where the manifest lies.
    install: Sequence[Sequence[str]]
    #: Command that runs a script, given the place where it is installed.
    run: Callable[[Path], Sequence[str]]
    #: It sends tokens over TLS alone; its scripts then find the authority's file in CA.
    tls: bool = False

    @property
    def scripts(self) -> list[Path]:
        """One for each scenario."""
        return sorted((SOURCES / self.name).glob(f"*{self.suffix}"))

    def installed(self) -> Path:
        """Returns the place where it is installed."""
        return installed(SOURCES / self.name / self.manifest, BUILT / self.name, self.install)

    def outcomes(self, script: Path, environments: Sequence[dict[str, str]]) -> list[list[str]]:
        """The lines that a script prints, run in each environment at once."""
        place = self.installed()
        # (Node and Java look for packages from the script's directory on.)
        copied = Path(shutil.copy(script, place))
        command = [*self.run(place), str(copied)]
        with ThreadPoolExecutor(len(environments)) as pool:
            return list(pool.map(partial(_lines, command, place), environments))


def _lines(command: Sequence[str], place: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return [line for line in done.stdout.splitlines() if line.startswith(("ok ", "failed "))]


def _python(name: str, *, tls: bool = False) -> Client:
    return Client(
        name,
        "requirements.txt",
        ".py",
        PYTHON,
        lambda place: [str(place / "venv" / "bin" / "python")],
        tls,
    )


CLIENTS = [
    Client(
        "npm_etcd3",
        "package.json",
        ".cjs",
        [["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]],
        lambda place: ["node"],
    ),
    Client(
        "jetcd",
        "pom.xml",
        ".java",
        [["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars"]],
        lambda place: ["java", "-cp", f"{place}/jars/*"],
    ),
    _python("aetcd"),
    _python("apisix"),
    _python("openstack"),
    _python("python_etcd3", tls=True),
]
