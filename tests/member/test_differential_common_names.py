"""Users by the common name of their certificate, beside etcd."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.certificates import Authority, Identity
from cluster.local import LocalCluster
from tests.support.pair import ORACLE, SUBJECT, command

#: (common name of the certificate, arguments of etcdctl); root changes users at the end.
CALLS = [
    ("u", ["put", "a/1", "v"]),
    ("u", ["get", "a/1"]),
    ("u", ["put", "b", "v"]),
    ("u", ["get", "a/", "b0"]),
    ("u", ["user", "list"]),
    ("u", ["user", "get", "u"]),
    ("u", ["member", "list", "-w", "fields"]),
    ("u", ["--user=root:wrong", "get", "a/1"]),
    ("u", ["--user=root:password", "get", "b"]),
    ("stranger", ["get", "a/1"]),
    ("stranger", ["put", "a/1", "v"]),
    ("stranger", ["member", "list", "-w", "fields"]),
    ("stranger", ["user", "list"]),
    ("stranger", ["--user=root:password", "user", "list"]),
    ("root", ["user", "revoke-role", "u", "r"]),
    ("u", ["get", "a/1"]),
    ("root", ["user", "delete", "u"]),
    ("u", ["get", "a/1"]),
    ("u", ["user", "get", "u"]),
    ("root", ["user", "add", "u", "--no-password"]),
    ("u", ["get", "a/1"]),
]
SET_UP = [
    ["user", "add", "root:password"],
    ["user", "grant-role", "root", "root"],
    ["user", "add", "u", "--no-password"],
    ["role", "add", "r"],
    ["role", "grant-permission", "r", "readwrite", "a/", "a0"],
    ["user", "grant-role", "u", "r"],
    ["auth", "enable"],
]


def run(cluster: LocalCluster, authority: Authority, show: Identity, arguments: list[str]) -> str:
    """What etcdctl said, without what differs from member to member."""
    done = subprocess.run(
        [
            command("etcdctl"),
            f"--endpoints={cluster.members[0].client_url}",
            f"--cacert={authority.cert}",
            f"--cert={show.cert}",
            f"--key={show.key}",
            "--command-timeout=5s",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        env={"ETCDCTL_API": "3"},
    )
    if "member" in arguments:
        return f"{done.returncode}"
    said = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    return f"{done.returncode} {done.stdout} {said}"


def test_a_common_name_is_its_user_as_in_etcd(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls(verify_clients=True)
    names = {name: authority.issue(name) for name in ("root", "u", "stranger")}
    flags = ["--bcrypt-cost=4"]
    with (
        LocalCluster(1, binary=[command(SUBJECT)], flags=flags, tls=tls) as mine,
        LocalCluster(1, binary=[command(ORACLE)], flags=flags, tls=tls) as theirs,
    ):
        for arguments in SET_UP:
            for cluster in (mine, theirs):
                assert run(cluster, authority, names["root"], arguments)[0] == "0"
        differing = []
        for name, arguments in CALLS:
            one, other = (run(each, authority, names[name], arguments) for each in (mine, theirs))
            if one != other:
                differing.append((name, arguments, one, other))
        assert differing == []
