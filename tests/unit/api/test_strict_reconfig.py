"""The strict check: which changes etcd refuses before it proposes them, and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rusd.api.strict_reconfig import StrictReconfigCheck
from rusd.rpc.errors import MEMBER_NOT_ENOUGH_STARTED, UNHEALTHY, EtcdError
from rusd.state.members import Member, Members
from rusd.storage import Batch

SELF = 1
NOW = 100.0


def check(*members: str, since: dict[int, float | None] | None = None) -> StrictReconfigCheck:
    """Members 1, 2, …: "started", "new" (never started) or "learner"; all but `since` have been
    connected for long.
    """
    known = Members()
    known.bootstrap(
        Batch(),
        [
            Member(
                number,
                "" if what == "new" else f"m{number}",
                (f"http://{number}:1",),
                is_learner=what == "learner",
            )
            for number, what in enumerate(members, 1)
        ],
        9,
    )
    connected: dict[int, float | None] = {number: 0.0 for number in range(1, len(members) + 1)}
    connected.update(since or {})
    return StrictReconfigCheck(SELF, known, connected.get)


def refusal(call: Callable[[], None]) -> EtcdError:
    with pytest.raises(EtcdError) as error:
        call()
    return error.value


def test_a_healthy_cluster_may_grow() -> None:
    check("started", "started", "started").addition(False, NOW)


def test_the_first_member_may_get_a_second_though_both_are_needed_then() -> None:
    check("started").addition(False, NOW)


def test_no_member_is_added_when_too_few_have_started_for_the_larger_quorum() -> None:
    strict = check("started", "started", "new")
    assert refusal(lambda: strict.addition(False, NOW)) == MEMBER_NOT_ENOUGH_STARTED()


def test_a_learner_is_added_however_few_have_started() -> None:
    check("started", "started", "new").addition(True, NOW)


@pytest.mark.parametrize("learner", [False, True])
@pytest.mark.parametrize(
    ("voters", "down"),
    [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 2), (7, 2)],
)
@pytest.mark.parametrize("one_more", [False, True])
def test_a_member_is_added_while_a_quorum_of_the_larger_cluster_is_connected(
    voters: int, down: int, one_more: bool, learner: bool
) -> None:
    down += one_more and voters > 1
    strict = check(*["started"] * voters, since=dict.fromkeys(range(2, 2 + down)))
    if one_more and voters > 1:
        assert refusal(lambda: strict.addition(learner, NOW)) == UNHEALTHY()
    else:
        strict.addition(learner, NOW)


def test_a_learner_that_is_down_hinders_no_addition() -> None:
    check("started", "started", "started", "learner", since={4: None}).addition(False, NOW)


def test_a_connection_counts_after_five_seconds() -> None:
    strict = check("started", "started", "started", since={3: NOW - 5})
    assert refusal(lambda: strict.addition(False, NOW)) == UNHEALTHY()
    strict.addition(False, NOW + 0.1)


def test_a_member_that_is_down_may_be_removed() -> None:
    check("started", "started", "started", since={3: None}).removal(3, NOW)


def test_a_member_that_is_needed_for_the_quorum_is_not_removed() -> None:
    strict = check("started", "started", "started", since={3: None})
    assert refusal(lambda: strict.removal(2, NOW)) == UNHEALTHY()


def test_a_started_member_is_not_removed_when_those_left_are_not_enough() -> None:
    strict = check("started", "new")
    assert refusal(lambda: strict.removal(1, NOW)) == MEMBER_NOT_ENOUGH_STARTED()
    check("started", "new", since={2: None}).removal(2, NOW)


def test_a_learner_may_always_be_removed() -> None:
    check("started", "new", "learner").removal(3, NOW)


def test_no_learner_is_promoted_when_too_few_have_started() -> None:
    check("started", "learner").promotion()
    strict = check("started", "new", "new", "learner")
    assert refusal(strict.promotion) == MEMBER_NOT_ENOUGH_STARTED()
