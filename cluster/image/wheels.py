"""Collects what the image installs: `python -m cluster.image.wheels DIRECTORY [EXTRA,…]`.

rusd, and the packages of requirements.txt, whose hashes pip compares. The wheels are for this
Python, and for this machine or the platform that DOCKER_DEFAULT_PLATFORM names, as it does to
docker's own commands: linux/amd64 or linux/arm64. Nothing is compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("requirements.txt")

#: Architectures by Docker's name, with their names in wheels.
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
#: Minor versions of glibc 2 that a wheel may ask for: up to that of Debian 12.
GLIBC = range(17, 37)
#: The package without wheels. It is plain Python, so a wheel made here fits every machine.
SOURCE_ONLY = "pysyncobj"


def collect(directory: Path, platform: str = "", extras: str = "") -> None:
    """Put rusd and the packages it needs into `directory`. Raises CalledProcessError."""
    packages(directory, platform)
    _pip("wheel", "--no-deps", f"--wheel-dir={directory}", str(ROOT))
    if extras:
        rusd = next(directory.glob("rusd-*.whl"))
        options = ["--only-binary=:all:", f"--find-links={directory}"]
        _download(directory, platform, *options, f"{rusd}[{extras}]")


def packages(directory: Path, platform: str = "") -> None:
    """Put the packages of the lock into `directory`. Raises CalledProcessError."""
    kinds = ["--only-binary=:all:", f"--no-binary={SOURCE_ONLY}"]
    _download(directory, platform, *kinds, "--no-deps", "--require-hashes", f"--requirement={LOCK}")
    for source in directory.glob(f"{SOURCE_ONLY}-*.tar.gz"):
        _pip("wheel", "--no-deps", f"--wheel-dir={directory}", str(source))
        source.unlink()


def tags(platform: str) -> list[str]:
    """Return the platform tags of wheels that run on a platform of Docker. Raises ValueError."""
    name = "/".join(platform.split("/")[:2])  # without a variant, as in linux/arm64/v8
    if name not in MACHINES:
        raise ValueError(f"platform {platform}: no wheels (known: {', '.join(MACHINES)})")
    machine = MACHINES[name]
    return [*(f"manylinux_2_{minor}_{machine}" for minor in GLIBC), f"manylinux2014_{machine}"]


def _download(directory: Path, platform: str, *arguments: str) -> None:
    target = [f"--platform={tag}" for tag in tags(platform)] if platform else []
    _pip("download", f"--dest={directory}", *target, *arguments)


def _pip(*arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True)


if __name__ == "__main__":
    try:
        collect(
            Path(sys.argv[1]), os.environ.get("DOCKER_DEFAULT_PLATFORM", ""), "".join(sys.argv[2:])
        )
    except (ValueError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
