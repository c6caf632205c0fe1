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
from collections.abc import Sequence
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
    if not (directory / "go.mod").exists():
        _write_module(directory, version)
    link(directory, version, Path(__file__).with_name("main.go"))


def link(directory: Path, version: str, source: Path, name: str = "kubernetes") -> None:
    """Build the binary `name` of one source file in `directory`, which has a `go.mod`."""
    shutil.copyfile(source, directory / "main.go")
    go(directory, "mod", "tidy")
    names = {
        "gitVersion": version,
        "gitMajor": "1",
        "gitMinor": str(_minor(version)),
        "gitTreeState": "clean",
    }
    stamped = " ".join(
        f"-X k8s.io/{module}/version.{key}={value}"
        for module in ("component-base", "client-go/pkg")
        for key, value in names.items()
    )
    flags = ("-trimpath", "-ldflags", f"-s -w {stamped}")
    go(directory, "build", *flags, "-o", name, ".")


def _write_module(directory: Path, version: str) -> None:
    """Write `go.mod` and the copy of kwok that it names."""
    wanted = next(kwok for first, kwok in _KWOK_FROM.items() if _minor(version) >= first)
    kwok = download(directory, KWOK, wanted)
    _copy_kwok(Path(kwok["Dir"]), directory / "kwok")
    write_module(directory, version, [f"require {KWOK} {wanted}", f"replace {KWOK} => ./kwok"])


def write_module(directory: Path, version: str, further: Sequence[str] = ()) -> None:
    """Write `go.mod`: requirements, replacements by the staging repositories, `further` lines.

    It is the last file to be written: a build uses one that exists unchanged.
    """
    text = Path(download(directory, KUBERNETES, version)["GoMod"]).read_text()
    staged = version.replace("v1.", "v0.", 1)
    language = re.search(r"^go \S+", text, re.MULTILINE)
    assert language, text
    lines = [
        "module plane",
        language[0],
        f"require {KUBERNETES} {version}",
        *further,
        *(f"replace {name} => {name} {staged}" for name in _STAGING.findall(text)),
    ]
    (directory / "go.mod").write_text("\n".join(lines) + "\n")


def download(directory: Path, module: str, version: str) -> dict[str, str]:
    """Return Go's description of a published module, downloaded into its cache."""
    found: dict[str, str] = json.loads(
        go(directory, "mod", "download", "-json", f"{module}@{version}")
    )
    return found


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


def go(directory: Path, *arguments: str) -> str:
    """Run Go in `directory` and return its output. Raises CalledProcessError."""
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
