"""The store of the control plane, asked by etcdctl and rusdctl."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.support.pair import command

#: Seconds that a call may take: defragmentation of all members is one.
TIMEOUT = 60.0


def etcdctl(members: LocalCluster, tls: Tls | None, *arguments: str) -> str:
    """Run etcdctl and return its standard output. `tls`: None if members serve without it."""
    return _run("etcdctl", members.endpoints, tls, arguments)


def save(program: str, members: LocalCluster, tls: Tls | None, index: int, file: Path) -> None:
    """`snapshot save` of one member, by etcdctl or rusdctl."""
    _run(program, [members.endpoints[index]], tls, ["snapshot", "save", str(file)])


def objects(members: LocalCluster, tls: Tls | None, revision: int) -> list[dict[str, object]]:
    """All keys and values of the control plane at a revision, with their revisions and leases."""
    asked = ("get", "/registry/", "--prefix", f"--rev={revision}", "--write-out=json")
    found: list[dict[str, object]] = json.loads(etcdctl(members, tls, *asked))["kvs"]
    return found


def revisions(members: LocalCluster, tls: Tls | None, prefix: str) -> tuple[int, dict[str, int]]:
    """The store's revision, and that of each key with this prefix."""
    asked = ("get", prefix, "--prefix", "--keys-only", "--write-out=fields")
    shown = etcdctl(members, tls, *asked)
    keys = [json.loads(key) for key in re.findall(r'^"Key" : (".*")$', shown, re.MULTILINE)]
    found = map(int, re.findall(r'^"ModRevision" : (\d+)$', shown, re.MULTILINE))
    at = re.search(r'^"Revision" : (\d+)$', shown, re.MULTILINE)
    assert at
    return int(at[1]), dict(zip(keys, found, strict=True))


def _run(program: str, endpoints: Sequence[str], tls: Tls | None, arguments: Sequence[str]) -> str:
    options = [f"--endpoints={','.join(endpoints)}"]
    if tls is not None:
        options += [f"--cacert={tls.authority}", f"--cert={tls.client_cert}"]
        options += [f"--key={tls.client_key}"]
    done = subprocess.run(
        [command(program), *options, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    return done.stdout
