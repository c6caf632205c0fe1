"""A clean virtual environment with rusd as users install it, and commands in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.release.build import ROOT
from tests.release.pythons import Python

#: What pip needs from the environment, besides its own variables, to reach an index.
_NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY")
_NETWORK += ("https_proxy", "http_proxy", "NO_PROXY", "no_proxy")


class Environment:
    """A virtual environment below `directory`, whose HOME and working directory are empty."""

    def __init__(self, python: Python, directory: Path) -> None:
        self.python = python
        self._directory = directory
        self._cache = ROOT / "build" / "release" / "cache" if python.root is None else None
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.bin = directory / "venv" / "bin"
        self._run([python.path, "-m", "venv", str(self.bin.parent)])

    def install(self, *requirements: str) -> None:
        """Install with pip, and check that no dependency is missing or contradicts."""
        self.run("python", "-m", "pip", "install", "--quiet", *requirements)
        self.run("python", "-m", "pip", "check")

    def shared(self, path: Path) -> Path:
        """Return a copy of a file where a root of another Debian sees it."""
        return Path(shutil.copy(path, self._directory))

    def files(self) -> dict[str, bytes]:
        """Path -> content of all that an installation of rusd brings."""
        top = self.bin.parent
        site = next(top.glob("lib/python*/site-packages"))
        found = [*self.bin.glob("rusd*"), *(site / "rusd").rglob("*")]
        found += site.glob("rusd-*.dist-info/METADATA")
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in found
            if path.is_file() and path.suffix != ".pyc"
        }

    def command(self, name: str, *arguments: str) -> list[str]:
        """A command of the environment as this machine runs it."""
        return self.python.command(self._directory, str(self.bin / name), *arguments)

    def run(self, name: str, *arguments: str, timeout: float = 600) -> str:
        """Run a command of the environment; return its output. Fails unless it ends with 0."""
        return self._run([str(self.bin / name), *arguments], timeout)

    def _run(self, command: list[str], timeout: float = 600) -> str:
        done = subprocess.run(
            self.python.command(self._directory, *command),
            cwd=self.home,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        said = f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said
        return done.stdout

    def variables(self) -> dict[str, str]:
        """Nothing of this process's but what reaches the package index."""
        kept = {
            name: text
            for name, text in os.environ.items()
            if name.startswith("PIP_") or name in _NETWORK
        }
        if self._cache is not None:
            kept["PIP_CACHE_DIR"] = str(self._cache)
        path = f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
        return kept | {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8"}
