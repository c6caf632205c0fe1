"""Snapshots of a member, and what belongs into one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from cluster.local import LocalCluster
from rusd.bbolt import Database, check
from rusd.proto import rpc_pb2 as rpc
from rusd.utl.command import main
from tests.support.client import Client
from tests.support.pair import ORACLE, command, etcdutl

SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"

Buckets = dict[bytes, dict[bytes, bytes]]


def stream(client: Client, timeout: float = 60.0) -> Iterator[rpc.SnapshotResponse]:
    method = client.channel.unary_stream(
        SNAPSHOT,
        request_serializer=rpc.SnapshotRequest.SerializeToString,
        response_deserializer=rpc.SnapshotResponse.FromString,
    )
    return method(  # type: ignore[no-any-return]
        rpc.SnapshotRequest(), timeout=timeout, metadata=client.metadata
    )


def save(client: Client) -> bytes:
    """The file with its digest, after a check of what every message says."""
    messages = list(stream(client))
    blobs = [message.blob for message in messages]
    left = sum(map(len, blobs[:-1]))
    for message in messages[:-1]:
        left -= len(message.blob)
        assert message.remaining_bytes == left
    assert messages[-1].remaining_bytes == 0
    assert blobs[-1] == hashlib.sha256(b"".join(blobs[:-1])).digest()
    assert {message.version for message in messages} == {messages[0].version}
    return b"".join(blobs)


def buckets(file: bytes) -> Buckets:
    """All buckets of a file with its digest, after a check of the whole file."""
    return content(file[:-32])


def content(file: bytes) -> Buckets:
    """The same of one without."""
    database = Database(file)
    check(database)
    return {
        name: {item.key: item.value for item in bucket.items()}
        for name, bucket in database.buckets()
    }


def fill(client: Client) -> None:
    """History, tombstones, a compaction, leases, users and roles."""
    for number in range(30):
        client.put(b"k%d" % (number % 7), b"v%d" % number)
    client.delete(b"k3")
    client.put(b"zero\0key", b"\0")
    client.call(
        "/etcdserverpb.KV/Compact", rpc.CompactionRequest(revision=12), rpc.CompactionResponse
    )
    client.put(b"k3", b"again")
    for ttl in (600, 700):
        granted = rpc.LeaseGrantRequest(ID=ttl, TTL=ttl)
        client.call("/etcdserverpb.Lease/LeaseGrant", granted, rpc.LeaseGrantResponse)
    client.call(
        "/etcdserverpb.KV/Put",
        rpc.PutRequest(key=b"leased", value=b"x", lease=600),
        rpc.PutResponse,
    )
    role = rpc.AuthRoleAddRequest(name="reader")
    client.call("/etcdserverpb.Auth/RoleAdd", role, rpc.AuthRoleAddResponse)
    grant = rpc.AuthRoleGrantPermissionRequest(name="reader")
    grant.perm.key, grant.perm.range_end = b"k", b"l"
    client.call(
        "/etcdserverpb.Auth/RoleGrantPermission", grant, rpc.AuthRoleGrantPermissionResponse
    )
    user = rpc.AuthUserAddRequest(name="u", options={"no_password": True})
    client.call("/etcdserverpb.Auth/UserAdd", user, rpc.AuthUserAddResponse)
    join = rpc.AuthUserGrantRoleRequest(user="u", role="reader")
    client.call("/etcdserverpb.Auth/UserGrantRole", join, rpc.AuthUserGrantRoleResponse)


def run(*arguments: str | Path) -> str:
    done = subprocess.run([str(one) for one in arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hash_kv(client: Client, revision: int = 0) -> tuple[int, int]:
    answer = client.call(
        "/etcdserverpb.Maintenance/HashKV",
        rpc.HashKVRequest(revision=revision),
        rpc.HashKVResponse,
    )
    return answer.hash, answer.compact_revision


def etcdutl_hashes(file: Path, revisions: Iterable[int]) -> list[int]:
    """HashKV of a file at each of the revisions (etcd 3.6 and later)."""

    def ask(revision: int) -> int:
        told = run(*etcdutl(), "hashkv", file, "--rev", str(revision), "-w", "json")
        found: int = json.loads(told)["hash"]
        return found

    # (etcdutl takes one revision, and most of the time goes into its start.)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(ask, revisions))


def rusdutl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command, in this process: the start of another takes longer than most of its work."""
    words = [str(one) for one in arguments]
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


def restore(cluster: LocalCluster, index: int, file: Path, *flags: str) -> None:
    """Put what `file` holds in place of a stopped member's data."""
    member = cluster.members[index]
    shutil.rmtree(member.data_dir)
    everyone = ",".join(f"{one.name}={one.peer_url}" for one in cluster.members)
    done = rusdutl(
        *("snapshot", "restore", file, "--data-dir", member.data_dir, "--name", member.name),
        *("--initial-cluster", everyone, "--initial-advertise-peer-urls", member.peer_url),
        *("--initial-cluster-token", "restored", *flags),
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def served_by_etcd(file: Path) -> Iterator[Client]:
    """A client of one real etcd that begins with the file."""
    with LocalCluster(1, binary=[command(ORACLE)]) as etcd:
        etcd.stop(0)
        restore_by_etcdutl(etcd, file)
        etcd.start_all()
        etcd.wait_healthy()
        with Client(etcd.endpoints[0]) as real:
            yield real


def restore_by_etcdutl(cluster: LocalCluster, file: Path) -> None:
    """Put what `file` holds in place of the data of a stopped cluster of one."""
    (member,) = cluster.members
    shutil.rmtree(member.data_dir)
    peer = member.peer_url
    run(
        *etcdutl(),
        *("snapshot", "restore", str(file)),
        *("--data-dir", str(member.data_dir), "--name", member.name),
        *("--initial-cluster", f"{member.name}={peer}", "--initial-advertise-peer-urls", peer),
    )
