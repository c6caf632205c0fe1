"""Run test functions of a compiled suite, each by itself.

A function gets a network namespace (the suites use fixed ports), a process namespace (no server
outlives it) and a working directory of its own (some functions leave `default.etcd` there).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.compat.etcd_suite.outcome import Result, leaves

ROOT = Path(__file__).parents[3]
#: Seconds a function may take; the longest of `common` takes 90 s on two quiet cores.
LIMIT = 400
#: The same for a function that is expected to fail: some wait for a log line without a limit.
LIMIT_OF_FAILURES = 60

# Some functions look for an address beside loopback, by the route to a public address. The one
# from TEST-NET-1 (RFC 5737) exists in the namespace only.
_NETWORK = (
    "ip link set lo up && ip address add 192.0.2.1/32 dev lo"
    " && ip route add default dev lo src 192.0.2.1"
)


@dataclass(frozen=True)
class Suite:
    """One compiled suite in the directory `build` (see build.py)."""

    build: Path
    name: str
    version: str

    @property
    def binary(self) -> Path:
        return self.build / f"{self.name}.test"

    def functions(self, pattern: str) -> list[str]:
        """Return the names of the test functions that match the regular expression `pattern`."""
        listed = subprocess.run(
            [self.binary, "-test.list", pattern],
            cwd=self.build / "tests" / self.name,
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in listed.stdout.split() if line.startswith("Test")]

    def run(self, function: str, programs: Path, limit: int = LIMIT) -> dict[str, Result]:
        """Run `function` with the programs of a directory; return the results of its leaves."""
        log = self.build / "results" / self.name / f"{function}.json"
        log.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="etcd-suite-") as scratch:
            tests = Path(scratch) / "tests"
            for name in (self.name, "fixtures"):
                shutil.copytree(self.build / "tests" / name, tests / name)
            (Path(scratch) / "tmp").mkdir()
            test = [
                *(self.build / "test2json", "-t", self.binary, "-bin-dir", programs),
                *("-test.v=test2json", f"-test.timeout={limit}s", f"-test.run=^{function}$"),
            ]
            inside = f"{_NETWORK} && exec {shlex.join(map(str, test))}"
            isolated = [
                *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("timeout", str(limit + 30), "sh", "-c", inside),
            ]
            with log.open("wb") as out:
                subprocess.run(
                    isolated,
                    cwd=tests / self.name,
                    env=_environment(Path(scratch) / "tmp"),
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        with log.open(errors="replace") as events:
            return leaves(function, events)


@contextmanager
def programs(build: Path, version: str, subject: str) -> Iterator[Path]:
    """Make a directory with `etcd` (the subject), `etcdctl` and `etcdutl`.

    The suites ask `etcd --version` several times a cluster, and choose flags and functions by the
    answer: the version of the suite.
    """
    with tempfile.TemporaryDirectory(prefix="etcd-suite-bin-") as directory:
        made = Path(directory)
        for name in ("etcdctl", "etcdutl"):
            (made / name).symlink_to(build / name)
        if subject == "etcd":
            (made / "etcd").symlink_to(build / "etcd")
        else:
            number = version.removeprefix("v")
            (made / "version").write_text(
                f"etcd Version: {number}\nGit SHA: none\nGo Version: none\nGo OS/Arch: linux\n"
            )
            server = shlex.join([sys.executable, "-m", "rusd.cli"])
            (made / "etcd").write_text(
                "#!/bin/sh\n"
                f'[ "$1" = --version ] && exec cat {shlex.quote(str(made / "version"))}\n'
                f'exec {server} "$@"\n'
            )
            (made / "etcd").chmod(0o755)
        yield made


def _environment(scratch: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
