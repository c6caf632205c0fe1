"""Installs clients below `build/clients` and gives the commands that run their scripts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[1] / "build" / "clients"
#: Seconds an installation may take, and a script.
INSTALL_TIMEOUT, RUN_TIMEOUT = 600, 120


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
        """Install it unless this very manifest is installed; returns the place. FileNotFoundError
        names the tool (npm, mvn) that this machine lacks.
        """
        place = BUILT / self.name
        manifest = SOURCES / self.name / self.manifest
        stamp, wanted = place / "installed", hashlib.sha256(manifest.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == wanted:
            return place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(manifest, place)
        for command in self.install:
            done = subprocess.run(
                command, cwd=place, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        stamp.write_text(wanted)
        return place

    def outcome(self, script: Path, environment: dict[str, str]) -> list[str]:
        """The lines that a script prints."""
        place = self.installed()
        # (Node and Java look for packages from the script's directory on.)
        copied = Path(shutil.copy(script, place))
        done = subprocess.run(
            [*self.run(place), str(copied)],
            cwd=place,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT,
        )
        lines = done.stdout.splitlines()
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return [line for line in lines if line.startswith(("ok ", "failed "))]


def _python(name: str, *, tls: bool = False) -> Client:
    return Client(
        name,
        "requirements.txt",
        ".py",
        [
            [sys.executable, "-m", "venv", "venv"],
            ["venv/bin/python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"],
        ],
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
    _python("python_etcd3", tls=True),
]
