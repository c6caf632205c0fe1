from rusd.lease.ids import LeaseIds


def test_ids_are_positive_and_different() -> None:
    ids = LeaseIds(0xFFFF_FFFF_FFFF_FFFF, 1_700_000_000_000)
    drawn = [ids.next() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert all(0 < one < 1 << 63 for one in drawn)


def test_members_started_at_the_same_moment_draw_different_ids() -> None:
    assert LeaseIds(1, 5).next() != LeaseIds(2, 5).next()


def test_a_restart_a_millisecond_later_does_not_repeat_ids() -> None:
    before = LeaseIds(1, 5)
    drawn = {before.next() for _ in range(255)}
    assert LeaseIds(1, 6).next() not in drawn


def test_zero_is_never_drawn() -> None:
    ids = LeaseIds(0, (1 << 40) - 1)
    assert 0 not in [ids.next() for _ in range(600)]
