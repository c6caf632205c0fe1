"""Who a member is: from the flags once, from its data directory ever after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rusd.bootstrap import Identity, establish
from rusd.config import Config, ConfigError
from rusd.raft.ports import Entry, Position
from rusd.state.identity import member_id
from rusd.state.machine import StateMachine

FLAGS = Config(
    name="b",
    initial_advertise_peer_urls=("http://10.0.0.2:2380",),
    initial_cluster="a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
    initial_cluster_token="token",
)


def started(directory: Path, flags: Config = FLAGS, *, entries: int = 0) -> Identity:
    """One start of a member on `directory`, which then applies so many entries and stops."""
    config = replace(flags, data_dir=str(directory))
    machine = StateMachine(config.member_path / "state")
    try:
        identity = establish(config, machine)
        for index in range(2, entries + 2):
            machine.apply([Entry(Position(index, 1), [])])
        return identity
    finally:
        machine.close()


def test_the_ids_follow_from_the_flags_so_that_members_agree_without_talking(
    tmp_path: Path,
) -> None:
    other = replace(FLAGS, name="a", initial_advertise_peer_urls=("http://10.0.0.1:2380",))
    b, a = started(tmp_path / "b"), started(tmp_path / "a", other)
    assert b.member_id == member_id(["http://10.0.0.2:2380"], "token")
    assert a.member_id == member_id(["http://10.0.0.1:2380"], "token")
    assert a.cluster_id == b.cluster_id


def test_a_later_start_ignores_the_flags_of_bootstrap(tmp_path: Path) -> None:
    first = started(tmp_path, entries=3)
    changed = Config(name="c", initial_cluster="c=http://10.0.0.9:1", initial_cluster_token="x")
    assert started(tmp_path, changed) == first


def test_data_that_lost_its_identity_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    (tmp_path / "member" / "identity").unlink()
    with pytest.raises(ConfigError, match="identity is missing"):
        started(tmp_path)


def test_a_damaged_identity_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    for text in ("", "zz zz", "1"):
        (tmp_path / "member" / "identity").write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            started(tmp_path)


def test_an_identity_that_does_not_fit_the_data_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    (tmp_path / "member" / "identity").write_text("1 2\n")
    with pytest.raises(ConfigError, match="does not fit"):
        started(tmp_path)


def test_joining_an_existing_cluster_is_refused_until_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not supported"):
        started(tmp_path, replace(FLAGS, initial_cluster_state="existing"))


def test_a_start_that_was_cut_off_before_the_identity_was_written_is_repeated(
    tmp_path: Path,
) -> None:
    started(tmp_path)
    (tmp_path / "member" / "identity").unlink()
    assert started(tmp_path) == started(tmp_path)
