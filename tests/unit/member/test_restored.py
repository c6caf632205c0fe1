"""The data directory that `rusdutl snapshot restore` makes: whole, or never served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rusd.backup import etcd_records as etcd
from rusd.backup.errors import SnapshotError
from rusd.base import durable
from rusd.bbolt import Database
from rusd.config import Config, ConfigError, load, parse_arguments
from rusd.member import restored
from rusd.member.data_directory import prepare
from rusd.member.restored import restore_member
from rusd.proto.rpc_pb2 import PutRequest, RangeRequest
from rusd.raft.log.journal import Journal
from rusd.state.command import Kind
from rusd.state.machine import StateMachine
from tests.unit.backup.test_restore import sound
from tests.unit.bbolt.files import make

CONTENT = make(sound())


def config_of(directory: Path, *flags: str) -> Config:
    return load(parse_arguments([f"--data-dir={directory / 'data'}", *flags]), {}).config


class Killed(BaseException):
    """Stands for SIGKILL: with `rmtree` out of the way, nothing is cleaned up."""


@pytest.mark.parametrize("moment", [0, 1, 2, 5, 10, 1000])
def test_a_restore_that_is_killed_leaves_nothing_that_a_member_serves(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, fsync = moment, durable.sync

    def dying(path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        fsync(path)

    monkeypatch.setattr(durable, "sync", dying)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    config = config_of(tmp_path)
    if moment == 1000:
        restore_member(config, Database(CONTENT))
        prepare(config)
        assert config.identity_path.exists()
        assert not (config.member_path / "restoring").exists()
        return
    with pytest.raises(Killed):
        restore_member(config, Database(CONTENT))
    assert not config.identity_path.exists()
    with pytest.raises(ConfigError, match="half of a snapshot"):
        prepare(config)


def test_two_restores_into_one_directory_leave_the_first_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    settled, second = Journal.settle, []

    def meanwhile(journal: Journal) -> None:
        """Another process that looked before this one began."""
        with monkeypatch.context() as patch:
            patch.setattr(restored, "refuse_existing", lambda _: None)
            with pytest.raises(FileExistsError) as error:
                restore_member(config, Database(CONTENT))
        second.append(error)
        settled(journal)

    monkeypatch.setattr(Journal, "settle", meanwhile)
    held = restore_member(config, Database(CONTENT))
    assert second
    prepare(config)
    machine = StateMachine(config.member_path / "state")
    assert machine.store.revision == held.revision > 1
    machine.close()


@pytest.mark.parametrize("place", ["data", "data/member", "data/member/state"])
def test_a_log_within_a_room_of_the_member_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / place)
    config = config_of(tmp_path, f"--wal-dir={tmp_path / 'link'}")
    with pytest.raises(ConfigError, match="--wal-dir must be a directory of its own"):
        restore_member(config, Database(CONTENT))
    assert not (tmp_path / "data").exists()


def test_a_failed_restore_removes_the_log_that_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "sync_tree", full)
    for wal in ("apart", "data/wal"):
        config = config_of(tmp_path, f"--wal-dir={tmp_path / wal}")
        with pytest.raises(OSError, match="No space"):
            restore_member(config, Database(CONTENT))
        assert not (tmp_path / wal).exists()
        assert not config.member_path.exists()


def test_requests_are_applied_up_to_a_revision_and_no_further(tmp_path: Path) -> None:
    puts = [bytes((Kind.PUT,)) + PutRequest(key=b"p%d" % n).SerializeToString() for n in range(200)]
    # (With a NOSPACE alarm puts are refused, as they were.)
    content = make({name: rows for name, rows in sound().items() if name != etcd.ALARM})
    begins = restore_member(config_of(tmp_path / "all"), Database(content)).revision
    for applied in (0, 1, 63, 64, 65, 199, 200):
        config = config_of(tmp_path / str(applied))
        until = begins + applied
        restored = restore_member(config, Database(content), until=until, proposals=puts)
        assert restored.revision == until
        machine = StateMachine(config.member_path / "state")
        found = machine.store.range(RangeRequest(key=b"p", range_end=b"q"))
        machine.close()
        assert len(found.kvs) == applied
    for proposals in ([], puts):
        config = config_of(tmp_path / f"beyond-{len(proposals)}")
        last = begins + len(proposals)
        with pytest.raises(SnapshotError, match=f"ends with revision {last}$"):
            restore_member(config, Database(content), until=last + 1, proposals=proposals)
        assert not config.member_path.exists()
