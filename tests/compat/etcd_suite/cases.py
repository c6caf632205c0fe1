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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
_NAMESPACES = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


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
        test: list[str | Path] = [
            *(self.build / "test2json", "-t", self.binary, "-bin-dir", programs),
            *("-test.v=test2json", f"-test.timeout={limit}s", f"-test.run=^{function}$"),
        ]
        isolated(self.build, self.name, test, limit, log)
        with log.open(errors="replace") as events:
            return leaves(function, events)


def isolated(
    build: Path,
    suite: str,
    command: Iterable[str | Path],
    limit: int,
    log: Path,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run `command` in the namespaces and a copy of the directory of `suite`; return its exit code.

    Output goes to the file `log`; `variables` join the environment.
    """
    with tempfile.TemporaryDirectory(prefix="etcd-suite-") as scratch:
        tests, temporary = Path(scratch) / "tests", Path(scratch) / "tmp"
        for name in (suite, "fixtures"):
            shutil.copytree(build / "tests" / name, tests / name)
        temporary.mkdir()
        inside = f"{_NETWORK} && exec {shlex.join(map(str, command))}"
        with log.open("wb") as out:
            done = subprocess.run(
                [*_NAMESPACES, "timeout", str(limit + 30), "sh", "-c", inside],
                cwd=tests / suite,
                env=os.environ
                | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
                | dict(variables),
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
    return done.returncode


@contextmanager
def programs(build: Path, version: str, subject: str) -> Iterator[Path]:
    """Make a directory with `etcd` (the subject), `etcdctl` and `etcdutl`, and for rusd `journal`
    (see robustness/journal.py).

    The suites ask `etcd --version` several times a cluster, and choose flags and functions by the
    answer: the version of the suite. A member whose peer connections go through proxies runs in a
    group of its own, by which the packet filter tells its connections (go/peer_proxy.go).
    """
    in_group = '[ -z "$PEER_GROUP" ] || set -- setpriv --regid "$PEER_GROUP" --clear-groups "$@"\n'
    with tempfile.TemporaryDirectory(prefix="etcd-suite-bin-") as directory:
        made = Path(directory)
        for name in ("etcdctl", "etcdutl"):
            (made / name).symlink_to(build / name)
        if subject == "etcd":
            _script(made / "etcd", f'set -- {shlex.quote(str(build / "etcd"))} "$@"\n{in_group}')
        else:
            number = version.removeprefix("v")
            (made / "version").write_text(
                f"etcd Version: {number}\nGit SHA: none\nGo Version: none\nGo OS/Arch: linux\n"
            )
            answer = f'[ "$1" = --version ] && exec cat {shlex.quote(str(made / "version"))}\n'
            _script(made / "etcd", answer + _python("rusd.cli") + in_group)
            _script(made / "journal", _python("tests.compat.etcd_suite.robustness.journal"))
        yield made


def _python(module: str) -> str:
    # (With the path of this tree: some suites start `etcd` with variables of their own choice.)
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", module]
    return f'set -- {shlex.join(command)} "$@"\n'


def _script(path: Path, lines: str) -> None:
    path.write_text(f'#!/bin/sh\n{lines}exec "$@"\n')
    path.chmod(0o755)
