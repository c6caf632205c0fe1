"""The store of the control plane, asked by etcdctl."""

from __future__ import annotations

import subprocess

from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.support.pair import command

#: Seconds that a call may take: defragmentation of all members is one.
TIMEOUT = 60.0


def etcdctl(members: LocalCluster, tls: Tls, *arguments: str) -> str:
    """Run etcdctl and return its standard output."""
    certificates = [f"--cacert={tls.authority}", f"--cert={tls.client_cert}"]
    options = [f"--key={tls.client_key}", f"--endpoints={','.join(members.endpoints)}"]
    done = subprocess.run(
        [command("etcdctl"), *certificates, *options, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    return done.stdout
