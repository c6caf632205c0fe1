"""A file that goes on from an earlier one of the same member holds what a new one would."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rusd.backup import export, kept_pages
from rusd.backup.kept_pages import Reuse
from rusd.bbolt.writer import LEAF
from tests.support.snapshots import content
from tests.unit.backup.any_store import EVERYTHING, HISTORIES, Change, apply
from tests.unit.backup.test_any_store import EXAMPLES, file_of
from tests.unit.state.driver import Driver

VALUE = 4096
ROWS = 400


def go_on(driver: Driver, path: Path) -> Reuse | None:
    """Write the file as the process of a member does: into what the earlier one left."""
    engine = driver.machine.engine
    earlier = kept_pages.find(engine, path) if path.exists() else None
    with path.open("r+b" if earlier else "wb") as file:
        export.write(engine, file, earlier=earlier)
    return earlier


def compact(driver: Driver) -> None:
    """Compact all, and remove what is superseded."""
    driver.compact(driver.machine.store.revision)
    for _ in driver.machine.store.compact_slices():
        pass


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """A store of some leaves."""
    driver = Driver(tmp_path / "state")
    for number in range(ROWS):
        driver.put(b"%04d" % number, os.urandom(VALUE))
    yield driver
    driver.machine.close()


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@example([EVERYTHING[:20], EVERYTHING[20:]])
@given(st.lists(HISTORIES, min_size=2, max_size=4))
def test_any_history_is_as_in_a_file_of_its_own(histories: Sequence[Sequence[Change]]) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        # Whatever can stay stays.
        patch.setattr(kept_pages, "STAYS", 0.0)
        patch.setattr(kept_pages, "SHORT", 0)
        driver = Driver(Path(directory) / "state")
        path = Path(directory) / "db"
        try:
            for history in histories:
                apply(driver, history)
                go_on(driver, path)
                assert content(path.read_bytes()) == content(file_of(driver))
        finally:
            driver.machine.close()


def test_only_what_is_new_is_written(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "db"
    go_on(driver, path)
    before = path.read_bytes()
    driver.put(b"new", b"value")
    earlier = go_on(driver, path)
    assert earlier is not None
    # The new row, and those of the last leaf if it was not half full.
    assert 1 <= earlier.rows <= 1 + LEAF // 2 // VALUE
    after = path.read_bytes()
    assert after[2 * 4096 : len(before)] == before[2 * 4096 :]
    assert len(after) - len(before) < LEAF
    assert content(after) == content(file_of(driver))


def test_leaves_that_a_compaction_did_not_touch_stay(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "db"
    go_on(driver, path)
    for number in (10, 11, 200):
        driver.put(b"%04d" % number, b"again")
    compact(driver)
    earlier = go_on(driver, path)
    assert earlier is not None
    assert 3 <= earlier.rows <= 3 + 3 * (LEAF // VALUE)
    assert content(path.read_bytes()) == content(file_of(driver))


def test_a_compaction_that_is_under_way_is_noticed_with_each_file(
    driver: Driver, tmp_path: Path
) -> None:
    for number in range(30):
        driver.put(b"%04d" % number, b"again")
    driver.compact(driver.machine.store.revision)
    path = tmp_path / "db"
    slices = driver.machine.store.compact_slices(1)
    rows = []
    for _ in zip(slices, range(20), strict=False):
        go_on(driver, path)
        assert content(path.read_bytes()) == content(file_of(driver))
        rows.append(len(content(path.read_bytes())[b"key"]))
    assert rows[0] > rows[-1]


def test_a_file_of_which_too_little_stays_is_made_anew(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "db"
    go_on(driver, path)
    size = path.stat().st_size
    for number in range(0, ROWS, 10):
        driver.put(b"%04d" % number, b"again")
    compact(driver)
    assert go_on(driver, path) is None
    assert path.stat().st_size < size
    assert content(path.read_bytes()) == content(file_of(driver))


def test_free_pages_do_not_add_up(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "db"
    anew = 0
    for number in range(60):
        driver.put(b"%d" % number, os.urandom(VALUE))
        anew += go_on(driver, path) is None
        assert path.stat().st_size * kept_pages.STAYS < (ROWS + number + 2) * (VALUE + 200) + LEAF
    assert 1 <= anew < 30
    assert content(path.read_bytes()) == content(file_of(driver))


@pytest.mark.parametrize("content", [b"", b"no database", bytes(100_000)])
def test_what_is_no_file_of_this_member_is_made_anew(
    driver: Driver, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    assert kept_pages.find(driver.machine.engine, path) is None
