"""Users by the common name of their certificate, beside etcd."""

from __future__ import annotations

import http.client
import ssl
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
    """Return etcdctl's output without the parts that differ between members."""
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


def as_json(
    cluster: LocalCluster, authority: Authority, show: Identity, path: str
) -> tuple[int, bytes]:
    """The response to a request over HTTP/1.1 and TLS, without its ids."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.load_cert_chain(show.cert, show.key)
    endpoint = cluster.members[0].client_url.removeprefix("https://")
    connection = http.client.HTTPSConnection(endpoint, context=context, timeout=20)
    try:
        connection.request("POST" if "v3" in path else "GET", path, '{"key":"eA=="}')
        response = connection.getresponse()
        return response.status, response.read().partition(b"cluster_id")[0]
    finally:
        connection.close()


def test_a_common_name_is_its_user_as_in_etcd(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls(verify_clients=True)
    names = {name: authority.issue(name) for name in ("root", "u", "stranger")}
    flags = ["--bcrypt-cost=4"]
    with (
        LocalCluster(1, binary=[command(SUBJECT)], flags=flags, tls=tls) as mine,
        LocalCluster(1, binary=[command(ORACLE)], flags=flags, tls=tls) as theirs,
    ):
        found = []
        for arguments in SET_UP:
            # The gateway uses no common name, and refuses those that would be used over gRPC.
            for path in ("/v3/kv/range", "/v3beta/kv/range", "/health"):
                one, other = (
                    as_json(each, authority, names["root"], path) for each in (mine, theirs)
                )
                assert one == other
                found.append(one[0])
            for cluster in (mine, theirs):
                assert run(cluster, authority, names["root"], arguments)[0] == "0"
        assert set(found) == {200}
        for path, status in (("/v3/kv/range", 400), ("/v3/none", 400), ("/health", 200)):
            one, other = (as_json(each, authority, names["root"], path) for each in (mine, theirs))
            assert one == other
            assert one[0] == status
        differing = []
        for name, arguments in CALLS:
            one, other = (run(each, authority, names[name], arguments) for each in (mine, theirs))
            if one != other:
                differing.append((name, arguments, one, other))
        assert differing == []
