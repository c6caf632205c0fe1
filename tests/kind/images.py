"""Container images of one or two layers, as the archive that `docker save` writes.

An image is named, and made of layers (tar files of a directory) and a configuration. Layers are
shared between images: containerd stores each once.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Image(NamedTuple):
    """A name with its tag, the directories that become its layers, and how it starts."""

    name: str
    layers: Sequence[Path]
    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = {}


def write(archive: Path, images: Sequence[Image]) -> None:
    """Write an archive of all images."""
    with tarfile.open(archive, "w") as out:
        digests = {}
        for layer in {path for image in images for path in image.layers}:
            digests[layer] = _add_layer(out, layer)
        manifest = []
        for image in images:
            layers = [digests[layer] for layer in image.layers]
            config = json.dumps(_config(image, layers)).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(out, name, config)
            files = [f"{digest}.tar" for digest in layers]
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": files})
        _add(out, "manifest.json", json.dumps(manifest).encode())


def _config(image: Image, layers: Sequence[str]) -> dict[str, object]:
    path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    return {
        "os": "linux",
        "architecture": machine,
        "config": {
            "Env": [path, *(f"{name}={value}" for name, value in image.environment.items())],
            "Entrypoint": list(image.entrypoint),
            # Images of the same content would have one identity.
            "Labels": {"name": image.name},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in layers]},
    }


def _add_layer(out: tarfile.TarFile, directory: Path) -> str:
    """Add a directory as a layer and return its digest."""
    written = directory.with_suffix(".tar")
    with tarfile.open(written, "w") as layer:
        for child in sorted(directory.iterdir()):
            layer.add(child, child.name)
    with written.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    out.add(written, f"{digest}.tar")
    written.unlink()
    return digest


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    out.addfile(entry, io.BytesIO(content))
