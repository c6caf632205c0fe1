"""`rusdutl migrate`: etcd's data directory, and a running etcd, to a rusd member."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.certificates import Authority
from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client
from tests.support.pair import ORACLE, command
from tests.support.snapshots import Buckets, buckets, fill, hash_kv, rusdutl, save
from tests.support.waiting import wait

#: What a cluster knows of itself alone.
OWN = {b"members", b"members_removed", b"meta", b"cluster"}
AUTH = "/etcdserverpb.Auth/"
#: Revision that the store is compacted at.
COMPACTED = 30
ROOT, SECRET = "root", "secret"


def write_more(client: Client) -> None:
    """Requests of every kind, so late that the database does not have the last of them."""
    for number in range(40):
        client.put(b"late%d" % (number % 9), b"v%d" % number)
    client.delete(b"late1", b"late3")
    txn = rpc.TxnRequest()
    compare = txn.compare.add(key=b"late4", target=rpc.Compare.VERSION, result=rpc.Compare.GREATER)
    compare.version = 0
    for key in (b"txn/a", b"txn/b"):
        put = txn.success.add().request_put
        put.key, put.value, put.lease = key, b"t", 700
    txn.success.add().request_delete_range.key = b"late5"
    client.txn(txn)
    client.call(
        "/etcdserverpb.Lease/LeaseGrant",
        rpc.LeaseGrantRequest(ID=800, TTL=800),
        rpc.LeaseGrantResponse,
    )
    client.put(b"of/800", b"x", lease=800)
    client.put(b"of/600", b"x", lease=600)
    client.call(
        "/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=600), rpc.LeaseRevokeResponse
    )
    client.compact(COMPACTED)
    client.call(AUTH + "RoleAdd", rpc.AuthRoleAddRequest(name="root"), rpc.AuthRoleAddResponse)
    user = rpc.AuthUserAddRequest(name=ROOT, password=SECRET)
    client.call(AUTH + "UserAdd", user, rpc.AuthUserAddResponse)
    client.call(
        AUTH + "UserGrantRole",
        rpc.AuthUserGrantRoleRequest(user="root", role="root"),
        rpc.AuthUserGrantRoleResponse,
    )
    client.call(AUTH + "AuthEnable", rpc.AuthEnableRequest(), rpc.AuthEnableResponse)
    with log_in(client) as root:
        root.put(b"by/root", b"r")
        root.call(
            AUTH + "UserDelete", rpc.AuthUserDeleteRequest(name="u"), rpc.AuthUserDeleteResponse
        )
        for number in range(20):
            root.put(b"last", b"%d" % number)


def log_in(client: Client) -> Client:
    request = rpc.AuthenticateRequest(name=ROOT, password=SECRET)
    token = client.call(AUTH + "Authenticate", request, rpc.AuthenticateResponse).token
    return Client(client.endpoint, metadata={"token": token})


@contextmanager
def migrated(*source: str | Path) -> Iterator[tuple[LocalCluster, str]]:
    """A rusd member that was made of etcd's data, and what rusdutl said."""
    with LocalCluster(1, user=(ROOT, SECRET)) as cluster:
        cluster.stop_all()
        member = cluster.members[0]
        shutil.rmtree(member.data_dir)
        done = rusdutl(
            *("migrate", *source, "--data-dir", member.data_dir, "--name", member.name),
            *("--initial-cluster", f"{member.name}={member.peer_url}"),
            *("--initial-advertise-peer-urls", member.peer_url),
        )
        assert done.returncode == 0, done.stderr
        cluster.start_all()
        cluster.wait_healthy()
        yield cluster, done.stdout


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalCluster]:
    """A running etcd with data, users and leases. Beside its data: `db`, the database before the
    last writes, and `killed`, its data directory as a SIGKILL just after them left it.
    """
    with LocalCluster(1, binary=[command(ORACLE)], user=(ROOT, SECRET)) as cluster:
        directory = cluster.members[0].data_dir
        with Client(cluster.endpoints[0]) as client:
            fill(client)
            cluster.stop(0)
            shutil.copy(directory / "member/snap/db", directory.with_name("db"))
            cluster.start_all()
            cluster.wait_healthy()
            write_more(client)
            cluster.kill(0)
        shutil.copytree(directory, directory.with_name("killed"))
        cluster.start_all()
        cluster.wait_healthy()
        yield cluster


@pytest.fixture
def killed(etcd: LocalCluster, tmp_path: Path) -> Path:
    """A copy of the data directory as the SIGKILL left it."""
    return Path(shutil.copytree(etcd.members[0].data_dir.with_name("killed"), tmp_path / "of-etcd"))


def compare(cluster: LocalCluster, etcd: LocalCluster) -> None:
    """Assert that both hold the same."""
    with (
        Client(cluster.endpoints[0]) as one,
        Client(etcd.endpoints[0]) as other,
        log_in(one) as rusd,
        log_in(other) as real,
    ):
        newest = real.range(b"\0").header.revision
        assert rusd.range(b"\0").header.revision == newest
        assert rusd.range(b"\0", b"\0").kvs == real.range(b"\0", b"\0").kvs
        for revision in (0, *range(COMPACTED + 1, newest + 1, 7), newest):
            assert hash_kv(rusd, revision) == hash_kv(real, revision), revision

        def alike() -> tuple[Buckets, Buckets] | None:
            both = buckets(save(rusd)), buckets(save(real))
            return both if both[0][b"key"] == both[1][b"key"] else None

        # (Both remove what was compacted in the background.)
        ours, theirs = wait(alike, "the keys differ", 20.0)
        for name in ours.keys() - OWN:
            assert ours[name] == theirs[name], name


def test_requests_that_only_the_log_holds_are_applied(etcd: LocalCluster, killed: Path) -> None:
    """The database is as old as if etcd had not written it since its start."""
    shutil.copy(etcd.members[0].data_dir.with_name("db"), killed / "member/snap/db")
    with migrated("--from", killed) as (cluster, said):
        entries = re.search(r"(\d+) entries of the write-ahead log", said)
        assert entries and int(entries[1]) > 70
        compare(cluster, etcd)


def test_acknowledged_writes_of_an_etcd_that_was_killed_are_there(
    etcd: LocalCluster, killed: Path
) -> None:
    with migrated("--from", killed) as (cluster, _):
        compare(cluster, etcd)


def test_a_running_etcd_is_taken_over_its_endpoint(etcd: LocalCluster) -> None:
    source = ("--from-endpoint", f"http://{etcd.endpoints[0]}", "--user", "root:secret")
    with migrated(*source) as (cluster, _):
        compare(cluster, etcd)


def test_an_endpoint_with_tls_is_shown_a_certificate_and_the_next_is_asked_if_one_fails(
    tmp_path: Path,
) -> None:
    tls = Authority(tmp_path / "certificates").tls(verify_clients=True)
    shown = ("--cacert", tls.authority, "--cert", tls.client_cert, "--key", tls.client_key)
    with LocalCluster(1, binary=[command(ORACLE)], tls=tls) as secured:
        endpoint = secured.endpoints[0]
        refused = migrate(tmp_path, "--from-endpoint", f"https://{endpoint}")
        assert (refused.returncode, refused.stdout) == (1, "")
        source = f"https://127.0.0.1:1,https://{endpoint}"
        done = migrate(tmp_path, "--from-endpoint", source, *shown)
        assert done.returncode == 0, done.stderr
        assert f"migrated https://{endpoint} to" in done.stdout
        assert [one.name for one in tmp_path.iterdir()] == ["certificates", "new"]


def test_the_directory_of_a_running_etcd_is_refused(etcd: LocalCluster, tmp_path: Path) -> None:
    done = migrate(tmp_path, "--from", etcd.members[0].data_dir)
    assert done.returncode == 1
    assert "is in use: stop etcd before" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_migrated_is_refused_and_nothing_is_made(
    etcd: LocalCluster, killed: Path, tmp_path: Path
) -> None:
    url = f"http://{etcd.endpoints[0]}"
    (tmp_path / "full" / "member").mkdir(parents=True)
    for words, source in (
        ("has no member/snap/db", ("--from", tmp_path)),
        ("give the directory that holds it", ("--from", killed / "member")),
        ("not empty", ("--from", killed, "--data-dir", tmp_path / "full")),
        ("user name is empty", ("--from-endpoint", url)),
        ("invalid user ID or password", ("--from-endpoint", url, "--user", "root:wrong")),
        ("UNAVAILABLE", ("--from-endpoint", "http://127.0.0.1:1")),
        ("no URL of an endpoint", ("--from-endpoint", "unix:///x")),
    ):
        done = migrate(tmp_path, *source)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert done.stderr.startswith("Error: ") and words in done.stderr
        assert not (tmp_path / "new").exists()


def test_a_log_apart_from_the_data_is_applied_and_missed_if_it_is_not_named(
    etcd: LocalCluster, killed: Path, tmp_path: Path
) -> None:
    shutil.copy(etcd.members[0].data_dir.with_name("db"), killed / "member/snap/db")
    apart = killed / "member/wal"
    apart.rename(tmp_path / "wal")
    refused = migrate(tmp_path, "--from", killed)
    assert (refused.returncode, "has no segment with entry" in refused.stderr) == (1, True)
    assert not (tmp_path / "new").exists()
    with migrated("--from", killed, "--from-wal-dir", tmp_path / "wal") as (cluster, _):
        compare(cluster, etcd)


def test_a_log_that_is_damaged_is_refused_and_one_that_was_cut_is_not(
    killed: Path, tmp_path: Path
) -> None:
    (segment,) = (killed / "member/wal").glob("*.wal")
    content = segment.read_bytes()
    end = len(content.rstrip(b"\0"))
    segment.write_bytes(content.replace(b"by/root", b"by/Root"))
    done = migrate(tmp_path, "--from", killed)
    assert done.returncode == 1
    assert "damaged at" in done.stderr and "etcdctl snapshot save" in done.stderr
    assert not (tmp_path / "new").exists()
    segment.write_bytes(content[: end - 5])
    assert migrate(tmp_path, "--from", killed).returncode == 0


def test_rusd_refuses_to_start_on_it_and_names_the_command(killed: Path) -> None:
    done = subprocess.run(
        [command("rusd"), "--data-dir", str(killed)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "is etcd's data" in done.stderr and "rusdutl migrate --from" in done.stderr
    assert not (killed / "member" / "identity").exists()


def migrate(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return rusdutl("migrate", "--data-dir", place / "new", *arguments)


def test_etcd_does_not_start_on_data_of_rusd_and_harms_none_of_it() -> None:
    with LocalCluster(1) as cluster:
        member = cluster.members[0]
        with Client(cluster.endpoints[0]) as client:
            client.put(b"key", b"value")
        cluster.stop_all()
        there = set(member.data_dir.rglob("*"))
        urls = [f"--{who}-client-urls={member.client_url}" for who in ("listen", "advertise")]
        urls += [f"--{who}-peer-urls={member.peer_url}" for who in ("listen", "initial-advertise")]
        urls += [f"--initial-cluster={member.name}={member.peer_url}"]
        etcd = subprocess.run(
            [command(ORACLE), f"--name={member.name}", f"--data-dir={member.data_dir}", *urls],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert etcd.returncode != 0
        assert "wal: file not found" in etcd.stderr
        left = member.data_dir / "member" / "snap"
        assert set(member.data_dir.rglob("*")) == there | {left, left / "db"}
        rusd = subprocess.run(
            [command("rusd"), "--data-dir", str(member.data_dir)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert rusd.returncode == 1
        assert f"of etcd ({left}): move" in rusd.stderr
        shutil.rmtree(left)
        cluster.start_all()
        cluster.wait_healthy()
        with Client(cluster.endpoints[0]) as client:
            assert client.range(b"key").kvs[0].value == b"value"
