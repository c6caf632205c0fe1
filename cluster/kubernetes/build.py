"""Compile the control plane: `… .build DIRECTORY VERSION`, with the version of k8s.io/kubernetes.

The published module of Kubernetes replaces its staging repositories by folders that the module
does not contain, and Go ignores such lines in a module that is not the main one. So a module in
`DIRECTORY` requires it and replaces each of them by the published one of the same release
(`v1.35.8` and `v0.35.8`). `DIRECTORY/kubernetes` is the binary (`main.go`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

KUBERNETES = "k8s.io/kubernetes"
KWOK = "sigs.k8s.io/kwok"

# kwok 0.8 requires 0.36; the version by the first minor release it is taken for.
_KWOK_FROM = {36: "v0.8.0", 0: "v0.7.0"}

# kwok 0.7 asks the end of a list for a template of it too, which 0.35 sends no more.
_RENAMED = ("metav1.InitialEventsListBlueprintAnnotationKey", "metav1.InitialEventsAnnotationKey")
_STAGING = re.compile(r"^\s*(k8s\.io/\S+) => \./staging/", re.MULTILINE)


def build(directory: Path, version: str) -> None:
    """Build the binary `kubernetes` and kwok's module `kwok/` in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    module = directory / "go.mod"
    if not module.exists():
        _write_module(directory, version)
    shutil.copyfile(Path(__file__).with_name("main.go"), directory / "main.go")
    _go(directory, "mod", "tidy")
    names = {
        "gitVersion": version,
        "gitMajor": "1",
        "gitMinor": str(_minor(version)),
        "gitTreeState": "clean",
    }
    stamped = " ".join(
        f"-X k8s.io/{package}/version.{name}={value}"
        for package in ("component-base", "client-go/pkg")
        for name, value in names.items()
    )
    _go(directory, "build", "-trimpath", "-ldflags", f"-s -w {stamped}", "-o", "kubernetes", ".")


def _write_module(directory: Path, version: str) -> None:
    """Write `go.mod`: requirements, and replacements by the staging repositories.

    It is the last file to be written: a build uses one that exists unchanged.
    """
    found = json.loads(_go(directory, "mod", "download", "-json", f"{KUBERNETES}@{version}"))
    text = Path(found["GoMod"]).read_text()
    wanted = next(kwok for first, kwok in _KWOK_FROM.items() if _minor(version) >= first)
    kwok = json.loads(_go(directory, "mod", "download", "-json", f"{KWOK}@{wanted}"))
    _copy_kwok(Path(kwok["Dir"]), directory / "kwok")
    staged = version.replace("v1.", "v0.", 1)
    go = re.search(r"^go \S+", text, re.MULTILINE)
    assert go, text
    lines = [
        "module plane",
        go[0],
        f"require {KUBERNETES} {version}",
        f"require {KWOK} {wanted}",
        f"replace {KWOK} => ./kwok",
        *(f"replace {name} => {name} {staged}" for name in _STAGING.findall(text)),
    ]
    (directory / "go.mod").write_text("\n".join(lines) + "\n")


def _minor(version: str) -> int:
    """35 of v1.35.8."""
    return int(version.split(".")[1])


def _copy_kwok(source: Path, target: Path) -> None:
    """Copy the module with the renamed constant."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for file in target.rglob("*.go"):
        text = file.read_text()
        if _RENAMED[0] in text:
            file.write_text(text.replace(*_RENAMED))
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def _go(directory: Path, *arguments: str) -> str:
    environment = os.environ | {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["go", *arguments],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
