"""When rusd compacts by itself."""

from rusd.upkeep.autocompact import ByRevision, Periodic, Policy


def compactions(
    policy: Policy, hours: float, revisions_per_second: float
) -> list[tuple[float, int]]:
    """Drive a policy over virtual time; every answer is taken as compacted."""
    now, found = 0.0, []
    while now < hours * 3600:
        revision = 1 + int(now * revisions_per_second)
        target = policy.tick(now, revision)
        if target is not None:
            policy.compacted(now, target)
            found.append((now, target))
        now += policy.interval
    return found


def test_periodic_keeps_the_retention_and_compacts_every_hour() -> None:
    found = compactions(Periodic(2 * 3600), hours=6, revisions_per_second=1)
    assert [time for time, _ in found] == [7200, 10800, 14400, 18000]
    assert all(abs((time - target) - 7200) <= 1 for time, target in found)


def test_periodic_below_an_hour_compacts_every_retention() -> None:
    found = compactions(Periodic(600), hours=1, revisions_per_second=1)
    assert [round(time) for time, _ in found] == [600, 1200, 1800, 2400, 3000]


def test_periodic_does_nothing_while_no_revision_is_made() -> None:
    assert len(compactions(Periodic(600), hours=2, revisions_per_second=0)) == 1


def test_by_revision_keeps_the_last_n_revisions() -> None:
    policy = ByRevision(1000)
    assert policy.tick(0, 1000) is None
    assert policy.tick(300, 1500) == 500
    policy.compacted(300, 500)
    assert policy.tick(600, 1500) is None
    assert policy.tick(900, 1501) == 501
