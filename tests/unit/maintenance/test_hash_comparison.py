"""Members whose data differs, by their hashes."""

import pytest

from rusd.maintenance.hash_comparison import ALL_MEMBERS, KeysHash, compacted, corrupt, differing


def at(value: int, compact: int = 5, revision: int = 9, current: int = 9) -> KeysHash:
    return KeysHash(value, revision, compact, current)


def test_a_difference_counts_only_at_the_same_compact_revision() -> None:
    assert differing(at(1), {2: at(1), 3: at(7), 4: at(7, compact=6)}) == [3]


@pytest.mark.parametrize(
    ("after", "others", "found"),
    [
        (at(1), {2: at(1), 3: at(1)}, None),
        (at(1), {2: at(8), 3: at(1)}, 2),
        (at(1), {2: at(8, compact=4), 3: at(1)}, None),
        (at(1), {3: at(1, current=10)}, 3),
        (at(1), {3: at(8, compact=6)}, 3),
        (at(8), {2: at(1)}, 1),
        (at(8, revision=10, current=10), {2: at(1, current=10)}, None),
        (at(8, compact=6), {2: at(8, compact=6)}, None),
    ],
    ids=[
        "all equal",
        "another's keys",
        "another compacted less",
        "ahead of the leader",
        "compacted more than the leader",
        "the leader's own changed",
        "the leader went on",
        "the leader compacted meanwhile",
    ],
)
def test_the_periodic_check_finds(
    after: KeysHash, others: dict[int, KeysHash], found: int | None
) -> None:
    assert corrupt(1, at(1), after, others) == found


@pytest.mark.parametrize(
    ("others", "accused", "complete"),
    [
        ({2: at(1), 3: at(1)}, (), True),
        ({2: at(1), 3: None}, (), False),
        ({2: at(1), 3: at(9, compact=6)}, (), False),
        ({2: at(1), 3: at(9)}, (3,), True),
        ({2: at(9), 3: at(9)}, (1,), True),
        ({2: at(8), 3: at(9)}, (ALL_MEMBERS,), True),
        ({2: at(9), 3: None}, (ALL_MEMBERS,), True),
        ({2: at(9)}, (ALL_MEMBERS,), True),
    ],
)
def test_after_a_compaction_the_minority_is_accused(
    others: dict[int, KeysHash | None], accused: tuple[int, ...], complete: bool
) -> None:
    verdict = compacted(1, at(1), others)
    assert (tuple(verdict.corrupt), verdict.complete) == (accused, complete)
