"""The directories of a member: private, and nothing in them that is another's."""

import asyncio
import contextlib
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.base.urls import Url
from rusd.config import Config, ConfigError
from rusd.member.data_directory import prepare
from tests.support.member import running
from tests.support.ports import free_urls

ETCD = Path(sys.executable).parent / "etcd"


def config(root: Path, **values: str) -> Config:
    return Config(data_dir=str(root / "data"), **values)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    return [record.fields for record in caplog.records if record.levelname == "WARNING"]  # type: ignore[attr-defined]


@contextlib.contextmanager
def running_etcd(root: Path) -> Iterator[None]:
    """A lone etcd that has written its data directory `root`."""
    urls = free_urls(2)
    command = [
        *(str(ETCD), "--data-dir", str(root), "--initial-cluster", f"default={urls[0]}"),
        *("--listen-peer-urls", urls[0], "--initial-advertise-peer-urls", urls[0]),
        *("--listen-client-urls", urls[1], "--advertise-client-urls", urls[1]),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("ready to serve client requests" in line for line in process.stderr)
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.stderr.read()


def test_new_directories_are_private_as_etcds_are(tmp_path: Path) -> None:
    made = Config(data_dir=str(tmp_path / "a" / "b"), wal_dir=str(tmp_path / "w" / "x"))
    prepare(made)
    for path in (made.data_path.parent, made.data_path, made.member_path, made.wal_path):
        assert mode(path) == 0o700, path


def test_an_existing_directory_that_others_may_read_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = config(tmp_path)
    own.data_path.mkdir(mode=0o755)
    own.data_path.chmod(0o755)
    prepare(own)
    assert mode(own.data_path) == 0o755
    [line] = warnings(caplog)
    assert str(own.data_path) in line["error"] and "drwxr-xr-x" in line["error"]


def test_etcd_makes_and_warns_of_the_same(tmp_path: Path) -> None:
    """The two tests above expect of rusd what etcd does."""
    with running_etcd(tmp_path / "new" / "data"):
        for path in (tmp_path / "new", tmp_path / "new/data", tmp_path / "new/data/member"):
            assert mode(path) == 0o700


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force-new-cluster"])
def test_the_data_directory_of_etcd_is_refused_with_the_way_to_migrate(
    tmp_path: Path, force: bool
) -> None:
    own = Config(data_dir=str(tmp_path / "data"), force_new_cluster=force)
    with running_etcd(own.data_path):
        pass
    before = sorted(own.data_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"is etcd's data: .*empty --data-dir.*make-mirror"):
        prepare(own)
    assert sorted(own.data_path.rglob("*")) == before
    shutil.rmtree(own.member_path / "snap")
    with pytest.raises(ConfigError, match=r"[0-9a-f-]{33}\.wal is etcd's data"):
        prepare(own)


@pytest.mark.parametrize(
    "file",
    ["data/member/snap/db", f"data/member/wal/{0:016x}-{0:016x}.wal", f"w/{3:016x}-{9:016x}.wal"],
)
def test_each_trace_of_etcds_data_is_enough(tmp_path: Path, file: str) -> None:
    touch(tmp_path / file)
    own = config(tmp_path, wal_dir=str(tmp_path / "w"))
    with pytest.raises(ConfigError, match="is etcd's data"):
        prepare(own)


def test_data_of_rusd_and_of_etcd_in_one_directory_is_a_contradiction(tmp_path: Path) -> None:
    own = config(tmp_path)
    touch(own.identity_path)
    touch(own.member_path / "snap" / "db")
    with pytest.raises(ConfigError, match="of a rusd member and of etcd"):
        prepare(own)


@pytest.mark.parametrize("names", [("identity", "state"), ("snap", "wal")])
def test_a_member_directory_given_for_the_data_directory_is_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    own = config(tmp_path)
    for name in names:
        touch(own.data_path / name)
    with pytest.raises(ConfigError, match="'member' directory"):
        prepare(own)


def test_the_directory_of_a_v2_proxy_is_refused(tmp_path: Path) -> None:
    own = config(tmp_path)
    touch(own.data_path / "proxy" / "cluster")
    with pytest.raises(ConfigError, match="v2 proxy"):
        prepare(own)


OURS = [
    "fixtures/client/cert.pem",
    "member/identity",
    "member/identity.new",
    "member/joining",
    "member/life",
    "member/lives.new",
    "member/wal/LOCK",
    "member/wal/0000000000000001.wal",
    "member/state/CURRENT",
    "member/state/CURRENT.new",
    "member/state/db-1/CURRENT",
    "member/state/db-1/000008.log",
    "member/state/db-1/OPTIONS-000007",
    "member/state/db-1/rocksdict-config.json",
    "member/snapshots/incoming/000009.sst",
    "member/snapshots/outgoing-1/CURRENT",
]
FOREIGN = [
    "lost+found/x",
    "member.bak/x",
    "member/Identity",
    "member/wal/1.wal",
    "member/wal/0.tmp",
    "member/state/db-1/000009.sst.part",
    "member/state/old",
    "member/snapshots/notes",
]


def test_every_file_that_is_not_a_members_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = config(tmp_path)
    prepare(own)
    for name in OURS:
        touch(own.data_path / name)
    prepare(own)
    assert warnings(caplog) == []
    for name in FOREIGN:
        touch(own.data_path / name)
    prepare(own)
    named = {Path(line["data-dir"], line["filename"]) for line in warnings(caplog)}
    assert named == {
        own.data_path / (Path(name).parent if name.endswith("/x") else name) for name in FOREIGN
    }


def test_what_a_member_leaves_behind_is_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (peer,) = free_urls(1)
    own = Config(
        data_dir=str(tmp_path / "data"),
        initial_cluster=f"default={peer}",
        initial_advertise_peer_urls=(Url(peer),),
        listen_peer_urls=(Url(peer),),
        listen_client_urls=(Url("https://127.0.0.1:0"),),
        auto_tls=True,
    )

    async def life() -> None:
        ready = asyncio.Event()
        async with running(own, on_ready=ready.set):
            await ready.wait()

    for _ in range(2):
        asyncio.run(life())
    assert (own.member_path / "state").exists() and (own.data_path / "fixtures").exists()
    assert [line for line in warnings(caplog) if "filename" in line] == []


def test_a_journal_elsewhere_may_lie_in_the_data_directory_and_leaves_no_other_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = config(tmp_path, wal_dir=str(tmp_path / "data" / "journal"))
    prepare(own)
    touch(own.wal_path / "0000000000000001.wal")
    prepare(own)
    assert warnings(caplog) == []
    touch(own.member_path / "wal" / "0000000000000001.wal")
    prepare(own)
    assert [line["filename"] for line in warnings(caplog)] == ["0000000000000001.wal"]


# -- the journal apart ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        *("data/member/state", "data/member/state/db-1", "data/member/snapshots"),
        *("data/member/snapshots/deep/er", "data/member/lives", "link/snapshots", "link"),
    ],
)
def test_a_journal_among_files_that_are_removed_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data" / "member")
    with pytest.raises(ConfigError, match="--wal-dir must be a directory of its own"):
        prepare(config(tmp_path, wal_dir=str(tmp_path / place)))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["data/member/wal", "data/member/mine", "data/wal", "wal", "."])
def test_a_journal_may_lie_anywhere_else(tmp_path: Path, place: str) -> None:
    prepare(config(tmp_path, wal_dir=str(tmp_path / place)))
    assert (tmp_path / place).is_dir()


def test_a_journal_may_be_on_another_disk_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "data" / "member").mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    (tmp_path / "data" / "member" / "wal").symlink_to(tmp_path / "disk")
    prepare(config(tmp_path))
