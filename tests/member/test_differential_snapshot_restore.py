"""`rusdutl snapshot restore`: a new cluster from a file of rusd or of etcd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from rusd.utl.command import main
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, command, etcdutl, oracle_version
from tests.support.snapshots import buckets, fill, hash_kv, restore, run, rusdutl, save

EVERYTHING = (b"\0", b"\0")
#: What a cluster knows of itself alone.
OWN = {b"members", b"members_removed", b"meta", b"cluster"}


#: Where it does not matter which server made the file.
ONE_SOURCE = pytest.mark.parametrize("source", ["rusd"], indirect=True)


@pytest.fixture(scope="module", params=["rusd", "etcd"])
def source(request: pytest.FixtureRequest) -> Iterator[tuple[LocalCluster, bytes]]:
    """A member with history, and its snapshot."""
    binary = None if request.param == "rusd" else [command(ORACLE)]
    with LocalCluster(1, binary=binary) as cluster:
        with Client(cluster.endpoints[0]) as client:
            fill(client)
            file = save(client)
        yield cluster, file


@contextmanager
def restored(
    members: int, content: bytes, tmp_path: Path, *flags: str, without: tuple[int, ...] = ()
) -> Iterator[LocalCluster]:
    """A cluster in which all members but `without` begin with the snapshot."""
    file = tmp_path / "snapshot.db"
    file.write_bytes(content)
    with LocalCluster(members, flags=["--initial-cluster-token=restored"]) as cluster:
        cluster.stop_all()
        for index in range(members):
            if index in without:
                shutil.rmtree(cluster.members[index].data_dir)
            else:
                restore(cluster, index, file, *flags)
        cluster.start_all()
        cluster.wait_healthy()
        yield cluster


def users(client: Client) -> list[str]:
    answer = client.call(
        "/etcdserverpb.Auth/UserList", rpc.AuthUserListRequest(), rpc.AuthUserListResponse
    )
    return list(answer.users)


def test_three_members_serve_what_the_file_holds(
    source: tuple[LocalCluster, bytes], tmp_path: Path
) -> None:
    original, file = source
    with Client(original.endpoints[0]) as client:
        everything = client.range(*EVERYTHING).kvs
        hashes = [hash_kv(client, revision) for revision in (0, 14, 20, 31)]
    with restored(3, file, tmp_path) as cluster:
        for endpoint in cluster.endpoints:
            with Client(endpoint) as client:
                assert client.range(*EVERYTHING).kvs == everything
                assert [hash_kv(client, revision) for revision in (0, 14, 20, 31)] == hashes
                assert users(client) == ["u"]
        with Client(cluster.endpoints[0]) as client:
            again = buckets(save(client))
            before = buckets(file)
            for name in before.keys() - OWN:
                assert again[name] == before[name], name
            newest = client.range(b"leased").header.revision
            assert client.put(b"new").header.revision == newest + 1
            revoked = rpc.LeaseRevokeRequest(ID=600)
            client.call("/etcdserverpb.Lease/LeaseRevoke", revoked, rpc.LeaseRevokeResponse)
            assert client.range(b"leased").count == 0


@ONE_SOURCE
def test_a_member_that_was_started_without_the_file_is_sent_the_state(
    source: tuple[LocalCluster, bytes], tmp_path: Path
) -> None:
    original, file = source
    with Client(original.endpoints[0]) as client:
        expected = hash_kv(client)
    with (
        restored(3, file, tmp_path, without=(1,)) as cluster,
        Client(cluster.endpoints[1]) as client,
    ):
        assert client.range(b"leased").count == 1
        assert hash_kv(client) == expected


def test_a_bumped_revision_makes_watchers_of_older_ones_start_anew(
    source: tuple[LocalCluster, bytes], tmp_path: Path
) -> None:
    original, file = source
    with Client(original.endpoints[0]) as client:
        newest = client.range(b"leased").header.revision
    with (
        restored(1, file, tmp_path, "--bump-revision", "1000000", "--mark-compacted") as cluster,
        Client(cluster.endpoints[0]) as client,
    ):
        found = client.range(b"leased")
        assert found.count == 1
        assert found.header.revision == newest + 1_000_000
        with pytest.raises(Refused, match="has been compacted"):
            client.range(b"leased", revision=newest)
        with client.watch() as watch:
            # (What a cache of Kubernetes saw of the old cluster, before and after the snapshot.)
            for seen in (newest, newest + 500):
                watch.create(b"leased", start_revision=seen)
                assert watch.receive().created
                ended = watch.receive()
                assert (ended.canceled, ended.compact_revision) == (True, newest + 1_000_000)
        assert client.put(b"new").header.revision == newest + 1_000_001
        buckets(save(client))


@ONE_SOURCE
def test_a_log_apart_is_made_where_the_member_looks_for_it(
    source: tuple[LocalCluster, bytes], tmp_path: Path
) -> None:
    file, wal = tmp_path / "snapshot.db", tmp_path / "wal"
    # (As a copy from a data directory has none.)
    file.write_bytes(source[1][:-32])
    with Client(source[0].endpoints[0]) as client:
        expected = hash_kv(client)
    with LocalCluster(1, flags=["--initial-cluster-token=restored"]) as cluster:
        cluster.stop_all()
        restore(cluster, 0, file, "--wal-dir", str(wal), "--skip-hash-check")
        assert list(wal.glob("*.wal"))
        assert not (cluster.members[0].data_dir / "member" / "wal").exists()
        cluster.set_flags(0, [f"--wal-dir={wal}"])
        cluster.start_all()
        cluster.wait_healthy()
        with Client(cluster.endpoints[0]) as client:
            assert hash_kv(client) == expected


@pytest.fixture
def file(source: tuple[LocalCluster, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "snapshot.db"
    path.write_bytes(source[1])
    return path


FORMS = pytest.mark.parametrize("form", ["simple", "json", "fields", "table"])
#: The borders of tables of etcdutl 3.7, and those of 3.6 in their places.
BORDERS = str.maketrans("┌┬┐├┼┤└┴┘│─", "+++++++++|-")


def by_etcdutl(*arguments: str | Path) -> str:
    return run(*etcdutl(), *arguments).translate(BORDERS)


@FORMS
def test_it_shows_what_etcdutl_shows_of_a_file(file: Path, form: str) -> None:
    theirs = by_etcdutl("snapshot", "status", file, "-w", form)
    ours = rusdutl("snapshot", "status", file, "-w", form)
    assert ours.returncode == 0
    if oracle_version() >= (3, 6):
        assert ours.stdout == theirs
    elif form == "json":
        # (etcd 3.5 counts the items of all buckets as keys, and knows no version.)
        shown, expected = json.loads(ours.stdout), json.loads(theirs)
        for name in ("hash", "revision", "totalSize"):
            assert shown[name] == expected[name]


@FORMS
def test_it_shows_the_hash_that_etcdutl_shows_of_a_file(file: Path, form: str) -> None:
    if oracle_version() < (3, 7):
        pytest.skip("etcdutl 3.5 has no hashkv, that of 3.6 opens no file with a leased key")
    for words in (("hashkv", file, "-w", form), ("hashkv", file, "--rev", "20", "-w", form)):
        assert rusdutl(*words).stdout == by_etcdutl(*words)


@ONE_SOURCE
def test_the_form_of_output_may_stand_before_and_after_the_verb(file: Path) -> None:
    shown = set()
    for place in range(4):
        arguments: list[str | Path] = ["snapshot", "status", file]
        arguments.insert(place, "--write-out=json")
        shown.add(rusdutl(*arguments).stdout)
    (one,) = shown
    assert json.loads(one)["revision"] > 1


def test_the_hash_of_a_file_is_that_of_the_member(
    source: tuple[LocalCluster, bytes], file: Path
) -> None:
    with Client(source[0].endpoints[0]) as client:
        for revision in (0, 14, 31):
            shown = json.loads(rusdutl("hashkv", file, "--rev", str(revision), "-w", "json").stdout)
            assert (shown["hash"], shown["compactRevision"]) == hash_kv(client, revision)


@ONE_SOURCE
def test_a_file_that_was_cut_is_refused_and_nothing_is_made(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    for cut in (content[:-1], content[:-32], content[: len(content) // 2], content[:40], b""):
        file.write_bytes(cut)
        # (Whole pages without a hash are a database that was copied: accepted with the flag.)
        flags = ("--skip-hash-check",) if len(cut) < len(content) - 32 else ()
        done = rusdutl("snapshot", "restore", file, "--data-dir", tmp_path / "data", *flags)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "data" / "member").exists()


@ONE_SOURCE
def test_a_changed_byte_is_refused(file: Path, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = rusdutl("snapshot", "restore", file, "--data-dir", tmp_path / "data")
    assert (done.returncode, done.stderr[:23]) == (1, "Error: expected sha256 ")


@ONE_SOURCE
def test_a_directory_with_data_is_not_overwritten(file: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    done = rusdutl("snapshot", "restore", file, "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["precious"]


#: Of etcd 3.6 and later: 3.5 has others.
EXIT_CODES = {
    "snapshot restore": 128,
    "snapshot restore nothing": 1,
    "snapshot restore FILE FILE": 128,
    "snapshot restore FILE --bump-revision 5": 128,
    "snapshot restore FILE --mark-compacted": 128,
    "snapshot restore FILE --bump-revision x": 1,
    "snapshot restore FILE --initial-memory-map-size x": 1,
    "snapshot restore FILE --initial-memory-map-size 1 --data-dir FULL": 1,
    "snapshot restore FILE --data-dir FULL": 1,
    "snapshot restore FILE --data-dir new --wal-dir FULL": 1,
    "snapshot restore FILE --name other --initial-cluster one=http://localhost:2380": 1,
    "snapshot status": 128,
    "snapshot status nothing": 1,
    "snapshot status FILE FILE": 128,
    "snapshot status FILE -w xml": 4,
    "snapshot status FILE -w protobuf": 4,
    "snapshot --unknown": 1,
    "hashkv": 1,
    "hashkv nothing": 1,
    "hashkv FILE FILE": 1,
    "hashkv FILE --rev x": 1,
    "hashkv FILE --rev 99999999": 1,
    "hashkv FILE -w protobuf": 4,
    "defrag": 1,
    "defrag --data-dir nothing": 1,
    "defrag --data-dir FULL": 1,
    "completion": 1,
    "completion csh": 1,
    "completion csh --help": 0,
    "completion --help": 0,
    "completion bash more": 1,
    "unknown": 1,
    "--unknown": 1,
    "": 0,
    "snapshot": 0,
    "snapshot unknown": 0,
    "snapshot unknown FILE": 0,
    "snapshot unknown --unknown": 1,
    "snapshot unknown --help": 0,
    "snapshot unknown -h": 0,
    "snapshot unknown FILE -w json --help": 0,
    "snapshot help": 0,
    "snapshot restore FILE --name other": 1,
    "defrag more --data-dir nothing": 1,
    "version": 0,
    "version more": 0,
    "version --unknown": 1,
    "help": 0,
    "help snapshot": 0,
    "help snapshot status": 0,
    "help snapshot unknown": 0,
    "help unknown": 0,
    "help -w json": 0,
    "unknown --help": 1,
    "snapshot unknown --unknown --help": 1,
    "snapshot unknown --help --unknown": 1,
    "snapshot --unknown --help": 1,
    "snapshot --help": 0,
    "snapshot --help=false": 0,
    "snapshot unknown --help=false": 0,
    "snapshot status --help": 0,
    "snapshot status --help=false": 128,
    "snapshot status --unknown -h": 1,
    "snapshot status --help --write-out": 1,
    "snapshot restore a b c --help": 0,
    "snapshot restore --help --bump-revision x": 1,
    "hashkv --help": 0,
    "hashkv --help --help=false": 1,
    "hashkv FILE --help --unknown": 1,
    "defrag --help": 0,
    "defrag --help --data-dir": 1,
    "version --help=false": 0,
    "completion bash more --help": 0,
    "completion bash --unknown --help": 1,
    "--help": 0,
    "--help=true": 0,
    "-h=false": 0,
    "--help=x": 1,
    "--help --unknown": 1,
    "--unknown --help": 1,
    "help unknown --help": 0,
    "help --unknown": 1,
}


#: Here etcdutl 3.6 panics: its hashkv cannot open a file with a leased key.
PANICS = {"hashkv FILE --rev 99999999", "hashkv FILE -w protobuf"}


@ONE_SOURCE
@pytest.mark.parametrize(("words", "code"), EXIT_CODES.items())
def test_a_wrong_use_has_etcdutls_exit_code(
    words: str,
    code: int,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").write_text("x")
    arguments = words.replace("FILE", str(file)).replace("FULL", str(full)).split()
    if oracle_version() >= ((3, 7) if words in PANICS else (3, 6)):
        theirs = subprocess.run([*etcdutl(), *arguments], capture_output=True, cwd=tmp_path)
        assert theirs.returncode == code, theirs.stderr
    monkeypatch.chdir(tmp_path)
    try:
        ours = main(arguments)
    except SystemExit as end:
        ours = end.code  # type: ignore[assignment]
    said = capfd.readouterr().err
    assert ours == code, said
    assert bool(said) == (bool(code) or words == "help unknown")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "snapshot.db"]


def test_a_stopped_member_is_defragmented_and_a_running_one_refused() -> None:
    with LocalCluster(1) as cluster:
        directory = cluster.members[0].data_dir
        with Client(cluster.endpoints[0]) as client:
            for _ in range(40):
                client.put(b"key", os.urandom(100_000))
            client.compact(client.range(b"key").header.revision, physical=True)
            before = hash_kv(client)
        refused = rusdutl("defrag", "--data-dir", directory, "--timeout", "1ms")
        assert (refused.returncode, "in use by another process" in refused.stderr) == (1, True)
        cluster.stop_all()
        size = sum(path.stat().st_size for path in (directory / "member/state").rglob("*.sst"))
        done = rusdutl("defrag", "--data-dir", directory)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        after = sum(path.stat().st_size for path in (directory / "member/state").rglob("*.sst"))
        assert after < size / 2 if size > 1_000_000 else after < 1_000_000
        cluster.start_all()
        cluster.wait_healthy()
        with Client(cluster.endpoints[0]) as client:
            assert hash_kv(client) == before


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("rusdutl ", {"snapshot", "hashkv", "defrag", "--write-out"}),
        ("rusdutl snapshot ", {"status", "restore"}),
        ("rusdutl snapshot restore file --b", {"--bump-revision"}),
        ("rusdutl completion z", {"zsh"}),
    ],
)
def test_bash_completes_verbs_and_flags(line: str, found: set[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(rusdutl("completion", "bash").stdout)
    words = line.split(" ")
    asked = f"""source {script}
        COMP_WORDS=({" ".join(words[:-1])} "{words[-1]}"); COMP_CWORD={len(words) - 1}
        _rusdutl; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
    assert found <= set(done.stdout.split()), done
    assert found == set(done.stdout.split()) or not words[-1]


def test_the_scripts_for_all_shells_name_all_verbs() -> None:
    for shell in ("bash", "zsh", "fish"):
        script = rusdutl("completion", shell).stdout
        for word in ("snapshot", "restore", "status", "hashkv", "defrag", "--mark-compacted"):
            assert word in script
