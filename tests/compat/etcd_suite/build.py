"""Compile etcd's suites with multiplied time limits: `… .build DIRECTORY VERSION`.

`DIRECTORY` holds a Go module that requires `go.etcd.io/etcd/tests/v3`. The limits of the suites
(10 to 30 s a cluster and its test) hold on quiet machines. A copy of the module with larger ones
takes its place, by a second module file, so that the module cache stays as it is.
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
MODULE = "go.etcd.io/etcd/tests/v3"

# WithTimeout(ctx, 10*time.Second), ExecuteWithTimeout(t, ...); time.After(40 * time.Second), where
# shorter ones are pauses or wait for nothing to happen.
_LIMIT = re.compile(r"(WithTimeout\([^\n]*?|time\.After\(\d\d+ ?\* ?)\btime\.(Second|Minute)\)")


def scaled(source: str) -> str:
    """Multiply the time limits that the Go text `source` gives to contexts."""
    return _LIMIT.sub(rf"\g<1>{SCALE}*time.\2)", source)


def build(directory: Path, version: str) -> None:
    """Leave `SUITE.test`, `test2json` and `tests/`, the changed copy, in `directory`."""
    module = json.loads(_go(directory, "mod", "download", "-json", f"{MODULE}@{version}"))["Dir"]
    tests = directory / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    shutil.copytree(module, tests, copy_function=shutil.copyfile)
    for file in tests.rglob("*.go"):
        file.parent.chmod(0o755)
        file.write_text(scaled(file.read_text()))
    for kind in ("mod", "sum"):
        shutil.copyfile(directory / f"go.{kind}", directory / f"suite.{kind}")
    _go(directory, "mod", "edit", f"-replace={MODULE}=./tests", "suite.mod")
    _go(directory, "build", "-o", "test2json", "cmd/test2json")
    for suite in SUITES:
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
