"""What a member recognises as a backup of its cluster."""

import pytest

from rusd.backup.scheduled import Names

OURS = Names(0xCDF818194E3A8C32, 0x8E9E05C52164694D)
FEBRUARY = 1_772_236_800


def test_a_backup_is_named_by_time_and_revision_and_read_back() -> None:
    made = OURS.backup(FEBRUARY, 1234)
    assert made.name == "rusd-cdf818194e3a8c32-20260228T000000Z-r1234.db"
    assert OURS.parse(made.name) == made


@pytest.mark.parametrize(
    "name",
    [
        "rusd-cdf818194e3a8c32-20260228T000000Z-r1234.db.bak",
        "my-rusd-cdf818194e3a8c32-20260228T000000Z-r1234.db",
        "rusd-cdf818194e3a8c32-20260230T000000Z-r1234.db",
        "rusd-cdf818194e3a8c32-20260228T000000Z-r01234.db",
        "rusd-cdf818194e3a8c33-20260228T000000Z-r1234.db",
        "rusd-cdf818194e3a8c32-8e9e05c52164694d.partial",
        "snapshot.db",
        "",
    ],
)
def test_any_other_name_is_no_backup_of_this_cluster(name: str) -> None:
    assert OURS.parse(name) is None


def test_drafts_of_all_members_of_the_cluster_are_recognised_and_of_no_other() -> None:
    sibling = Names(0xCDF818194E3A8C32, 1)
    assert OURS.is_partial(OURS.partial)
    assert OURS.is_partial(sibling.partial)
    assert sibling.partial != OURS.partial
    assert not OURS.is_partial(Names(1, 0x8E9E05C52164694D).partial)
    assert not OURS.is_partial(OURS.backup(FEBRUARY, 1).name)
