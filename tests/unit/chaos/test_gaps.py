"""Length of gaps without writes, derived from acknowledgements."""

from __future__ import annotations

import pytest

from cluster.chaos.failover import summary, table
from cluster.chaos.gaps import Ack, Gap, gap


def acks(member: int, *heard: float) -> list[Ack]:
    return [Ack(member, sent=time - 0.001, heard=time) for time in heard]


def test_the_gap_reaches_from_the_last_acknowledgement_to_the_next_of_any_survivor() -> None:
    heard = acks(0, 1.0, 2.0, 3.0) + acks(1, 1.5, 2.5, 3.25)
    found = gap(heard, began=1.75, survivors=[0, 1])
    assert found == Gap(cluster=0.5, slowest=1.0)


def test_the_member_that_ended_does_not_count() -> None:
    heard = acks(0, 1.0, 3.0) + acks(1, 1.0, 3.0) + acks(2, 1.0, 1.5, 2.0, 2.5)
    assert gap(heard, began=1.25, survivors=[0, 1]).cluster == 2.0


def test_silences_before_the_event_do_not_count() -> None:
    heard = acks(0, 0.0, 5.0, 5.5, 6.0)
    assert gap(heard, began=5.25, survivors=[0]).cluster == 0.5


def test_a_leader_may_go_on_for_a_while_after_it_was_told_to_end() -> None:
    heard = acks(0, 1.0, 1.25, 1.5, 3.0, 3.25)
    assert gap(heard, began=1.125, survivors=[0]).cluster == 1.5


def test_acknowledgements_count_by_the_time_they_were_heard() -> None:
    late = [Ack(0, sent=1.5, heard=4.0), *acks(0, 1.0, 3.0)]
    assert gap(late, began=2.0, survivors=[0]).cluster == 2.0


@pytest.mark.parametrize("heard", [(), (1.0,), (3.0,)])
def test_a_survivor_that_was_not_served_before_and_after_has_no_gap(heard: tuple[float]) -> None:
    with pytest.raises(ValueError, match="before and after"):
        gap([*acks(0, 1.0, 3.0), *acks(1, *heard)], began=2.0, survivors=[0, 1])


def test_percentiles_are_of_rounds_that_happened() -> None:
    seconds = [number / 1000 for number in range(100, 0, -1)]
    assert summary(seconds) == {"median": 50.5, "p90": 90.0, "p99": 99.0, "max": 100.0}
    assert summary([0.25]) == {"median": 250.0, "p90": 250.0, "p99": 250.0, "max": 250.0}


def test_the_table_tells_the_ratio_to_the_last_subject() -> None:
    results = {("rusd", "kill"): [Gap(0.5, 1.0)], ("etcd", "kill"): [Gap(1.0, 4.0)]}
    ratios = [line.split()[-4:] for line in table(results).splitlines() if "ratio" in line]
    assert ratios == [["0.50"] * 4, ["0.25"] * 4]
