"""The programs that the command calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

#: Top of the repository: where the compose files and kind-config.yaml are.
ROOT = Path(__file__).resolve().parents[2]

#: Docker Compose, by whichever name it is installed.
COMPOSE = ("sh", "tests/docker/compose.sh")

#: Where to get what is missing.
_SOURCES = {
    "docker": "https://docs.docker.com/engine/install/ (Debian: apt-get install docker.io)",
    "kind": "https://kind.sigs.k8s.io (or: go install sigs.k8s.io/kind@latest)",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
}


class ToolError(RuntimeError):
    """A program is missing or failed; the message says what to do or has its output."""


def require(*names: str) -> None:
    """Check that this is a clone, that programs are installed, and that the Docker engine answers.

    Raises ToolError.
    """
    if not (ROOT / "kind-config.yaml").exists():
        raise ToolError("this works in a clone of the repository, which has the compose files")
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        lines = [f"{name} is missing: {_SOURCES[name]}" for name in missing]
        raise ToolError("\n".join(lines))
    if "docker" in names:
        try:
            output("docker", "version", "--format", "{{.Server.Version}}")
        except ToolError as error:
            raise ToolError(
                "no Docker engine answers: is it started, and may this user reach its socket?\n"
                f"{error}"
            ) from None


def run(*command: str, env: Mapping[str, str] | None = None) -> None:
    """Run a program whose output the user sees. Raises ToolError if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | dict(env or {}), check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(command)}: exit code {done.returncode}")


def output(*command: str) -> str:
    """Return the standard output of a program. Raises ToolError with all of its output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(command)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout
