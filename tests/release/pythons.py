"""The Pythons that a release is tried on: this machine's, and Debian's newest if possible.

RELEASE_PYTHONS=3.11,3.14 takes these only, and the absence of one is then an error. Otherwise a
version that cannot be had is left out; the header of the test run names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.release.build import ROOT

#: Those that the classifiers in pyproject.toml name.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

#: Debian's suites, with the version that each is expected to have.
SUITES = {"3.13": "trixie", "3.14": "sid"}

SCRIPT = str(Path(__file__).with_name("debian.sh"))


class Python(NamedTuple):
    """An interpreter, and what stands before commands of its environments."""

    version: str
    path: str
    #: Root of another Debian; None: this machine's.
    root: Path | None = None

    def command(self, shared: Path, *command: str) -> list[str]:
        """A command for this machine that runs `command` where the interpreter is."""
        if self.root is None:
            return [*command]
        return ["sh", SCRIPT, "run", str(self.root), str(shared), *command]


@cache
def pythons() -> dict[str, Python]:
    """Version -> interpreter, in order of versions. Makes roots of Debian, once for all runs."""
    chosen = os.environ.get("RELEASE_PYTHONS", "")
    wanted = chosen.split(",") if chosen else VERSIONS
    candidates = {version: _here(version) or _debian(version) for version in wanted}
    found = {version: python for version, python in candidates.items() if python is not None}
    if not found or (chosen and len(found) < len(wanted)):
        names = ", ".join(wanted)
        raise FileNotFoundError(f"wanted Python {names}, found {', '.join(found) or 'none'}")
    return found


def _here(version: str) -> Python | None:
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        sys.base_prefix + f"/bin/{name}",
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/{name}"))),
        shutil.which(name) or "",
    ]
    return next(
        (Python(version, path) for path in candidates if path and _runs([path]) == version), None
    )


def _debian(version: str) -> Python | None:
    if version not in SUITES or os.geteuid() != 0 or shutil.which("debootstrap") is None:
        return None
    root = ROOT / "build" / "release" / SUITES[version]
    if not root.exists():
        command = ["sh", SCRIPT, "make", str(root), SUITES[version]]
        if subprocess.run(command, check=False, timeout=900).returncode != 0:
            return None
    path = "/usr/bin/python3"
    found = _runs(["chroot", str(root), path])
    return Python(version, path, root) if found == version else None


def _runs(python: Sequence[str]) -> str:
    """Its version if it can make virtual environments, else nothing."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([*python, "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
