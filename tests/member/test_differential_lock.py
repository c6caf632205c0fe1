"""The Lock and Election services beside etcd's: every answer and refusal, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rusd.proto import v3election_pb2 as election
from tests.support.auth_pair import World, auth_pair, world
from tests.support.client import Client, Refused
from tests.support.contention import METHODS, Observed, Waiting, contend, until
from tests.support.pair import Example, Pair, same_refusal, without_ids


class Contest:
    """Calls of both services, made to both servers in lockstep."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.sides = (example.pair.rusd, example.pair.etcd)

    def lease(self, number: int) -> int:
        lease = self.example.leases + number
        self.example.both("grant", 600, lease)
        return lease

    def call(self, method: str, **fields: Any) -> Any:
        path, request, answer = METHODS[method]
        return self.example.both("call", path, request(**fields), answer)

    def wait(self, method: str, queue: int, **fields: Any) -> list[Waiting]:
        """Start a call on both that has to wait, as the one that makes `queue` keys of its name."""
        calls = [Waiting(side, method, **fields) for side in self.sides]
        self.until_queued(fields["name"], queue)
        return calls

    def until_queued(self, name: bytes, queue: int) -> None:
        for side in self.sides:
            until(lambda side=side: keys_of(side, name) == queue)

    def same(self, calls: list[Waiting]) -> Any:
        mine, theirs = (outcome_of(call) for call in calls)
        assert same_refusal(mine, theirs) or mine == theirs
        return mine


def keys_of(side: Client, name: bytes) -> int:
    return side.range(name + b"/", name + b"0", count_only=True).count


def outcome_of(call: Waiting) -> Any:
    try:
        return without_ids(call.result())
    except Refused as refused:
        return refused


@pytest.fixture
def contest(pair: Pair) -> Iterator[Contest]:
    with pair.example() as example:
        yield Contest(example)


NAMES = [b"a", b"", b"a/b", b"\xff\x00\xfe", b"/"]


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_is_a_key_of_its_lease_until_it_is_unlocked(contest: Contest, name: bytes) -> None:
    lease = contest.lease(1)
    held = contest.call("lock", name=name, lease=lease)
    assert held.key == name + b"/%x" % lease
    # A lease that holds the lock gets it again.
    assert contest.call("lock", name=name, lease=lease) == held
    contest.example.both("range", held.key)
    contest.call("unlock", key=held.key)
    contest.call("unlock", key=held.key)
    contest.example.both("range", b"\0", b"\0")


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("lock", {"name": b"a", "lease": 999}),
        ("lock", {"name": b"a", "lease": -1}),
        ("lock", {"name": b"x" * 1_500_000, "lease": 999}),
        ("unlock", {"key": b""}),
        ("campaign", {"name": b"a", "lease": 999}),
        ("campaign", {"name": b"a", "lease": -(2**63), "value": b"v"}),
        ("campaign", {"name": b"a", "lease": 999, "value": b"x" * 1_600_000}),
        ("proclaim", {"value": b"v"}),
        ("proclaim", {"leader": election.LeaderKey()}),
        ("proclaim", {"leader": election.LeaderKey(key=b"none", rev=7, lease=1)}),
        ("proclaim", {"leader": election.LeaderKey(key=b"none", rev=0, lease=999)}),
        ("proclaim", {"leader": election.LeaderKey(key=b"none", rev=-1, lease=999)}),
        ("resign", {}),
        ("resign", {"leader": election.LeaderKey()}),
        ("resign", {"leader": election.LeaderKey(key=b"none", rev=7, lease=999)}),
        ("leader", {"name": b"none"}),
        ("leader", {"name": b""}),
    ],
)
def test_a_call_that_cannot_be_served_is_refused_with_etcds_words(
    contest: Contest, method: str, fields: dict[str, Any]
) -> None:
    contest.call(method, **fields)
    contest.example.both("range", b"\0", b"\0")


def test_an_election_is_won_proclaimed_and_resigned_with_the_revisions_of_etcd(
    contest: Contest,
) -> None:
    lease, other = contest.lease(1), contest.lease(2)
    won = contest.call("campaign", name=b"e", lease=lease, value=b"1").leader
    contest.call("leader", name=b"e")
    contest.call("campaign", name=b"e", lease=lease, value=b"1")
    contest.call("campaign", name=b"e", lease=lease, value=b"2")
    contest.call("leader", name=b"e")
    contest.call("proclaim", leader=won, value=b"3")
    for changed in (
        {"rev": won.rev + 1},
        {"lease": 999},
        {"lease": other},
        {"key": b"elsewhere"},
        {"name": b"other"},
        {"key": b"new", "rev": 0},
    ):
        leader = election.LeaderKey()
        leader.CopyFrom(won)
        for name, value in changed.items():
            setattr(leader, name, value)
        contest.call("proclaim", leader=leader, value=b"4")
        contest.call("leader", name=b"e")
    stale = election.LeaderKey()
    stale.CopyFrom(won)
    stale.rev = 1
    contest.call("resign", leader=stale)
    contest.call("resign", leader=won)
    contest.call("resign", leader=won)
    contest.call("proclaim", leader=won, value=b"5")
    contest.call("leader", name=b"e")
    contest.example.both("range", b"\0", b"\0")


@pytest.mark.parametrize(("enter", "leave"), [("lock", "unlock"), ("campaign", "resign")])
def test_waiters_are_served_in_the_order_in_which_their_keys_were_created(
    contest: Contest, enter: str, leave: str
) -> None:
    def out(held: Any) -> None:
        if leave == "unlock":
            contest.call("unlock", key=held.key)
        else:
            contest.call("resign", leader=held.leader)

    # The order of the leases is not that of the keys.
    first, second, third = contest.lease(3), contest.lease(1), contest.lease(2)
    held = contest.call(enter, name=b"q", lease=first)
    waiting = contest.wait(enter, 2, name=b"q", lease=second)
    last = contest.wait(enter, 3, name=b"q", lease=third)
    out(held)
    held = contest.same(waiting)
    assert not any(call.done() for call in last)
    out(held)
    out(contest.same(last))
    contest.example.both("range", b"\0", b"\0")


@pytest.mark.parametrize("method", ["lock", "campaign"])
def test_a_waiter_that_is_cancelled_deletes_its_key_and_lets_the_next_one_pass(
    contest: Contest, method: str
) -> None:
    first, second, third = contest.lease(1), contest.lease(2), contest.lease(3)
    held = contest.call(method, name=b"c", lease=first)
    cancelled = contest.wait(method, 2, name=b"c", lease=second)
    waiting = contest.wait(method, 3, name=b"c", lease=third)
    for call in cancelled:
        call.cancel()
    contest.until_queued(b"c", 2)
    if method == "lock":
        contest.call("unlock", key=held.key)
    else:
        contest.call("resign", leader=held.leader)
    contest.same(waiting)
    contest.example.both("range", b"\0", b"\0")


@pytest.mark.parametrize("method", ["lock", "campaign"])
def test_a_waiter_whose_lease_has_ended_gets_etcds_answer(contest: Contest, method: str) -> None:
    first, second = contest.lease(1), contest.lease(2)
    held = contest.call(method, name=b"s", lease=first)
    waiting = contest.wait(method, 2, name=b"s", lease=second)
    contest.example.both("revoke", second)
    key = held.key if method == "lock" else held.leader.key
    contest.example.both("delete", key)
    answer = contest.same(waiting)
    assert isinstance(answer, Refused) == (method == "lock")
    contest.example.both("range", b"\0", b"\0")


def test_an_observer_sees_the_leaders_and_their_values_as_etcds_does(contest: Contest) -> None:
    def told() -> Any:
        mine, theirs = (one.next() for one in observers)
        assert mine is not None and theirs is not None
        assert without_ids(mine) == without_ids(theirs)
        return mine

    first, second = contest.lease(1), contest.lease(2)
    early = contest.call("campaign", name=b"o", lease=first, value=b"1").leader
    observers = [Observed(side, b"o") for side in contest.sides]
    assert told().kv.value == b"1"
    contest.call("proclaim", leader=early, value=b"2")
    assert told().kv.value == b"2"
    waiting = contest.wait("campaign", 2, name=b"o", lease=second, value=b"3")
    contest.call("resign", leader=early)
    late = contest.same(waiting).leader
    assert told().kv.value == b"3"
    contest.call("resign", leader=late)
    contest.call("campaign", name=b"o", lease=first, value=b"4")
    assert told().kv.value == b"4"
    for each in observers:
        each.cancel()


def test_a_lease_that_was_made_for_a_call_ends_with_the_call_that_is_cancelled(pair: Pair) -> None:
    with pair.example():
        client = pair.rusd
        before = {lease.ID for lease in client.leases().leases}
        held = contend(client, "lock", name=b"m")
        (made,) = {lease.ID for lease in client.leases().leases} - before
        assert held.key == b"m/%x" % made and client.time_to_live(made).grantedTTL == 60
        for method in ("lock", "campaign"):
            waiting = Waiting(client, method, name=b"m")
            until(lambda: keys_of(client, b"m") == 2)
            waiting.cancel()
            until(lambda: keys_of(client, b"m") == 1)
            until(lambda: {one.ID for one in client.leases().leases} - before == {made})
        client.revoke(made)
        assert keys_of(client, b"m") == 0


# --- with authentication

READWRITE, READ, WRITE = 2, 0, 1
INHABITANTS = World(
    roles={
        "all": [(READWRITE, b"a/", b"a0")],
        "read": [(READ, b"a/", b"a0")],
        "write": [(WRITE, b"a/", b"a0")],
    },
    users={"owner": ["all"], "reader": ["read"], "writer": ["write"], "nothing": []},
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Pair]:
    yield from auth_pair()


def test_callers_need_the_permissions_of_the_reads_and_writes_within(guarded: Pair) -> None:
    with world(guarded, INHABITANTS) as calls:
        lease = calls.example.leases + 1
        calls.both("root", "grant", 600, lease)

        def call(user: str, method: str, **fields: Any) -> Any:
            path, request, answer = METHODS[method]
            return calls.both(user, "call", path, request(**fields), answer)

        for user in ("", "nothing", "reader", "writer", "owner", "root"):
            for name in (b"a", b"b"):
                held = call(user, "lock", name=name, lease=lease)
                if not isinstance(held, Refused):
                    call("reader", "unlock", key=held.key)
                    call(user, "unlock", key=held.key)
                won = call(user, "campaign", name=name, lease=lease, value=b"v")
                call(user, "leader", name=name)
                if not isinstance(won, Refused):
                    call("reader", "proclaim", leader=won.leader, value=b"w")
                    call("reader", "resign", leader=won.leader)
                    call(user, "proclaim", leader=won.leader, value=b"w")
                    call(user, "resign", leader=won.leader)
                calls.both("root", "range", b"\0", b"\0")
        calls.both("root", "revoke", lease)


def test_an_observer_without_permission_gets_no_error_as_in_etcd(guarded: Pair) -> None:
    with world(guarded, INHABITANTS) as calls:
        for user in ("", "nothing", "writer"):
            assert [Observed(side, b"a").next() for side in calls.clients(user)] == [None, None]


def test_a_cancelled_waiter_deletes_its_key_with_the_permission_it_had(guarded: Pair) -> None:
    """Etcd deletes it without a token, which is refused: there it stays as long as its lease."""
    with world(guarded, INHABITANTS) as calls:
        first, second = (calls.example.leases + number for number in (1, 2))
        left = []
        for owner, root in zip(calls.clients("owner"), calls.clients("root"), strict=True):
            for lease in (first, second):
                root.grant(600, lease)
            contend(owner, "lock", name=b"a", lease=first)
            waiting = Waiting(owner, "lock", name=b"a", lease=second)
            until(lambda root=root: keys_of(root, b"a") == 2)
            waiting.cancel()
            if not left:
                until(lambda root=root: keys_of(root, b"a") == 1)
            left.append(keys_of(root, b"a"))
            for lease in (second, first):
                root.revoke(lease)
        assert left[0] == 1
