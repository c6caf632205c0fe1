"""The store of the control plane, asked by etcdctl."""

from __future__ import annotations

import json
import re
import subprocess

from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.support.pair import command

#: Seconds that a call may take: defragmentation of all members is one.
TIMEOUT = 60.0


def etcdctl(members: LocalCluster, tls: Tls | None, *arguments: str) -> str:
    """Run etcdctl and return its standard output. `tls`: None if members serve without it."""
    options = [f"--endpoints={','.join(members.endpoints)}"]
    if tls is not None:
        options += [f"--cacert={tls.authority}", f"--cert={tls.client_cert}"]
        options += [f"--key={tls.client_key}"]
    done = subprocess.run(
        [command("etcdctl"), *options, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    return done.stdout


def revisions(members: LocalCluster, tls: Tls | None, prefix: str) -> tuple[int, dict[str, int]]:
    """The store's revision, and that of each key with this prefix."""
    asked = ("get", prefix, "--prefix", "--keys-only", "--write-out=fields")
    shown = etcdctl(members, tls, *asked)
    keys = [json.loads(key) for key in re.findall(r'^"Key" : (".*")$', shown, re.MULTILINE)]
    found = map(int, re.findall(r'^"ModRevision" : (\d+)$', shown, re.MULTILINE))
    at = re.search(r'^"Revision" : (\d+)$', shown, re.MULTILINE)
    assert at
    return int(at[1]), dict(zip(keys, found, strict=True))
