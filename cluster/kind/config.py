"""kind-config.yaml for another store, or for several control planes."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

#: Directory of the node that the files are mounted into.
MOUNTED = "/etc/kubernetes/rusd"

#: Files that kind copies from the first control plane to the others: those of kubeadm's own etcd,
#: which are not there with an external one. Nothing reads them.
_COPIED = ("/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/etcd/ca.key")


class Store(NamedTuple):
    """Client URLs, and the files of a client; None of all three: without TLS."""

    endpoints: Sequence[str]
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def of_store(text: str, store: Store) -> str:
    """Return the configuration `text` with `store` in place of the one that it names.

    Raises ValueError for URLs that a node cannot reach.
    """
    for endpoint in store.endpoints:
        _check(endpoint)
    files = {
        "caFile": ("ca.crt", store.authority),
        "certFile": ("client.crt", store.certificate),
        "keyFile": ("client.key", store.key),
    }
    external: dict[str, object] = {"endpoints": list(store.endpoints)}
    mounts = []
    for field, (name, path) in files.items():
        if path is not None:
            external[field] = f"{MOUNTED}/{name}"
            mount = {"hostPath": str(path.resolve()), "containerPath": external[field]}
            mounts.append(mount | {"readOnly": True})
    config: dict[str, Any] = yaml.safe_load(text)
    for node in config["nodes"]:
        node["extraMounts"] = mounts
    patches = [yaml.safe_load(patch) for patch in config["kubeadmConfigPatches"]]
    for patch in patches:
        if "etcd" in patch:
            patch["etcd"] = {"external": external}
    config["kubeadmConfigPatches"] = [yaml.safe_dump(patch) for patch in patches]
    return yaml.safe_dump(config, sort_keys=False)


def of_control_planes(text: str, count: int) -> str:
    """Return the configuration `text` with `count` control planes in place of its one.

    Raises ValueError if it has several nodes.
    """
    config: dict[str, Any] = yaml.safe_load(text)
    if len(config["nodes"]) != 1:
        raise ValueError(f"the configuration names {len(config['nodes'])} nodes already")
    first = config["nodes"][0]
    config["nodes"] += [copy.deepcopy(first) for _ in range(count - 1)]
    empty = [{"hostPath": "/dev/null", "containerPath": path, "readOnly": True} for path in _COPIED]
    first["extraMounts"] = [*first.get("extraMounts", []), *empty]
    return yaml.safe_dump(config, sort_keys=False)


def _check(endpoint: str) -> None:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{endpoint}: not a URL of the form https://HOST:PORT")
    try:
        loopback = ipaddress.ip_address(url.hostname).is_loopback
    except ValueError:
        loopback = url.hostname == "localhost"
    if loopback:
        raise ValueError(
            f"{endpoint}: the node is a container, whose loopback address is its own; name an "
            "address of this machine, or a container on the network that --network names"
        )
