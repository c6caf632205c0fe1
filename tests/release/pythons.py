"""The Pythons that a release is tried on: this machine's, and Debian's newest if possible.

RELEASE_PYTHONS=3.11,3.14 takes these only, and the absence of one is then an error. Otherwise a
version that cannot be had is left out; the header of the test run names those that are taken.
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

#: Suites whose Python is newer than that of most machines.
SUITES = ("trixie", "sid")

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
    found = {version: python for version in wanted if (python := _here(version)) is not None}
    for suite in SUITES:
        missing = [version for version in wanted if version not in found]
        if missing and (python := _debian(suite)) is not None and python.version in missing:
            found[python.version] = python
    if chosen and len(found) < len(wanted):
        raise FileNotFoundError(f"wanted Python {chosen}, found {', '.join(found) or 'none'}")
    return {version: found[version] for version in wanted if version in found}


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


def _debian(suite: str) -> Python | None:
    root = ROOT / "build" / "release" / suite
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        return None
    if not root.exists():
        made = subprocess.run(["sh", SCRIPT, "make", str(root), suite], check=False, timeout=900)
        if made.returncode != 0:
            return None
    version = _runs(["chroot", str(root), "/usr/bin/python3"])
    return Python(version, "/usr/bin/python3", root) if version else None


def _runs(python: Sequence[str]) -> str:
    """Its version if it can make virtual environments, else nothing."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([*python, "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
