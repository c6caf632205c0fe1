"""Compile etcd's suites with multiplied time limits: `… .build DIRECTORY VERSION`.

`DIRECTORY` holds a Go module that requires `go.etcd.io/etcd/tests/v3`. The limits of the suites
(10 to 30 s a cluster and its test) hold on quiet machines. A copy of the module with larger ones
takes its place, by a second module file, so that the module cache stays as it is. Files of `go/`
join packages of the copy, where `REPLACED` names take those of the suite's own functions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

#: Factor of the time limits.
SCALE = 4
SUITES = ("common", "e2e")
#: Compiled for the versions whose packages have what the files of `go/` use.
ROBUSTNESS = "robustness"
ROBUSTNESS_VERSIONS = "v3.7."
MODULE = "go.etcd.io/etcd/tests/v3"

#: (File of the suite, its text, the text in the copy).
REPLACED = (
    ("framework/e2e/etcd_process.go", "proxy.NewServer(*ep.cfg.Proxy)", "newPeerProxy(ep.cfg)"),
    ("framework/e2e/etcd_process.go", "func failpoints(", "func failpointsOfGofail("),
    ("robustness/scenarios/scenarios.go", "func Regression(", "func regressionOfEtcd("),
    ("robustness/report/report.go", "os.CopyFS(", "copyLive("),
    ("robustness/report/wal.go", "func PersistedRequests(", "func persistedRequestsOfEtcd("),
)
#: File of `go/` -> the directory of its package.
ADDED = {
    "peer_proxy.go": "framework/e2e",
    "no_gofail.go": "framework/e2e",
    "persisted.go": "robustness/report",
    "one_failpoint.go": "robustness/failpoint",
    "chosen_regression.go": "robustness/scenarios",
    "minimal_qps.go": "robustness/traffic",
}
OURS = Path(__file__).parent / "go"

# WithTimeout(ctx, 10*time.Second), ExecuteWithTimeout(t, ...); time.After(40 * time.Second), where
# shorter ones are pauses or wait for nothing to happen.
_LIMIT = re.compile(r"(WithTimeout\([^\n]*?|time\.After\(\d\d+ ?\* ?)\btime\.(Second|Minute)\)")
# The end of Eventually(t, func() bool { ... }, 3*time.Second, 100*time.Millisecond).
_EVENTUALLY = re.compile(r"(\}, \d+ ?\* ?)time\.(Second|Minute)(?=, \d+ ?\* ?time\.Millisecond)")
# The limit of a whole test of etcdctl.
_NAMED = "time.After(timeout)"


def scaled(source: str) -> str:
    """Multiply the time limits in the Go text `source`."""
    source = _LIMIT.sub(rf"\g<1>{SCALE}*time.\2)", source)
    source = _EVENTUALLY.sub(rf"\g<1>{SCALE}*time.\2", source)
    return source.replace(_NAMED, f"time.After({SCALE}*timeout)")


def replaced(tests: Path) -> None:
    """Let the functions of `go/` take their places in the copy `tests`. ValueError if the suite
    has no such text, or has it twice.
    """
    for name, old, new in REPLACED:
        text = (tests / name).read_text()
        if text.count(old) != 1:
            raise ValueError(f"{name} has {text.count(old)} times {old!r}")
        (tests / name).write_text(text.replace(old, new))
    for name, package in ADDED.items():
        shutil.copyfile(OURS / name, tests / package / f"rusd_{name}")


def build(directory: Path, version: str) -> None:
    """Leave `SUITE.test`, `test2json` and `tests/`, the changed copy, in `directory`."""
    module = json.loads(_go(directory, "mod", "download", "-json", f"{MODULE}@{version}"))["Dir"]
    tests = directory / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    shutil.copytree(module, tests, copy_function=shutil.copyfile)
    for file in tests.rglob("*.go"):
        file.parent.chmod(0o755)
        file.write_text(scaled(file.read_text()))
    suites = [*SUITES]
    if version.startswith(ROBUSTNESS_VERSIONS):
        replaced(tests)
        suites.append(ROBUSTNESS)
    for kind in ("mod", "sum"):
        shutil.copyfile(directory / f"go.{kind}", directory / f"suite.{kind}")
    _go(directory, "mod", "edit", f"-replace={MODULE}=./tests", "suite.mod")
    _go(directory, "build", "-o", "test2json", "cmd/test2json")
    for suite in suites:
        options = ["-modfile", "suite.mod", "-tags", "e2e"]
        _go(directory, "test", "-c", *options, "-o", f"{suite}.test", f"{MODULE}/{suite}")


def _go(directory: Path, *arguments: str) -> str:
    environment = os.environ | {"GOFLAGS": "-mod=mod"}
    command = ["go", *arguments]
    done = subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
