"""The search for a linear order answers like trying all orders; long histories are no trouble."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.chaos.checks.search import Search
from cluster.chaos.history import Action, Operation, Outcome


def brute_force(operations: list[Operation]) -> bool:
    """By the definition: some order of the certain calls and some unknown ones is possible."""
    certain = [op for op in operations if op.outcome is Outcome.OK]
    unknown = [op for op in operations if op.outcome is Outcome.UNKNOWN]
    for chosen in range(1 << len(unknown)):
        some = [op for n, op in enumerate(unknown) if chosen >> n & 1]
        if any(possible(order) for order in permutations(certain + some)):
            return True
    return False


def possible(order: tuple[Operation, ...]) -> bool:
    value: str | None = None
    latest_begin = float("-inf")
    for op in order:
        end = op.completed if op.outcome is Outcome.OK else None
        latest_begin = max(latest_begin, op.invoked)
        if end is not None and end < latest_begin:
            return False
        if op.action is Action.READ:
            if op.result != value:
                return False
        elif op.action is Action.CAS:
            matches = op.expected == value
            if op.outcome is Outcome.OK and matches != op.succeeded:
                return False
            if matches:
                value = op.argument
        else:
            value = op.argument
    return True


VALUES = st.sampled_from(["a", "b", "c"])
PERHAPS = st.sampled_from([None, "a", "b", "c"])


@st.composite
def calls(draw: st.DrawFn) -> Operation:
    action = draw(st.sampled_from(list(Action)))
    unknown = action is not Action.READ and draw(st.integers(0, 2)) == 0
    begin = draw(st.integers(0, 9))
    return Operation(
        client=0,
        action=action,
        key="k",
        endpoint="m1",
        invoked=begin,
        completed=None if unknown else begin + draw(st.integers(0, 6)),
        outcome=Outcome.UNKNOWN if unknown else Outcome.OK,
        argument=draw(VALUES) if action in (Action.WRITE, Action.CAS) else None,
        expected=draw(PERHAPS) if action is Action.CAS else None,
        result=draw(PERHAPS) if action is Action.READ else None,
        succeeded=draw(st.booleans()) if action is Action.CAS and not unknown else None,
    )


@settings(max_examples=1500, deadline=None)
@given(st.lists(calls(), max_size=6))
def test_the_search_says_what_trying_all_orders_says(operations: list[Operation]) -> None:
    assert Search(operations).run().linearizable == brute_force(operations)


class Simulation:
    """A true register under concurrent clients: each call takes effect at a moment between its
    ends. Some answers get lost, some calls take effect long after their client gave up.
    """

    def __init__(self, seed: int, calls: int, clients: int = 5, lost: float = 0.1) -> None:
        chance = random.Random(seed)
        begun: list[tuple[float, float, float | None, dict[str, object]]] = []
        for client in range(clients):
            now = chance.random()
            for number in range(calls // clients):
                begin = now
                effect = begin + chance.random()
                end: float | None = effect + chance.random()
                now = (end or 0) + chance.random() / 2
                if chance.random() < lost:
                    end = None
                    effect = begin + chance.choice((chance.random(), 20.0, float("inf")))
                begun.append((effect, begin, end, {"client": client, "number": number}))
        self.operations: list[Operation] = []
        value: str | None = None
        for effect, begin, end, who in sorted(begun, key=lambda one: one[0]):
            fields: dict[str, object] = {}
            action = chance.choice(list(Action))
            written = f"{who['client']}.{who['number']}"
            if action is Action.READ:
                fields["result"] = value
            elif action is Action.WRITE:
                fields["argument"] = written
            elif action is Action.CAS:
                fields["argument"] = written
                fields["expected"] = value if chance.random() < 0.6 else "another"
                if end is not None:
                    fields["succeeded"] = fields["expected"] == value
            if effect < float("inf"):
                if action is Action.WRITE or (action is Action.CAS and fields["expected"] == value):
                    value = written
                elif action is Action.DELETE:
                    value = None
            self.operations.append(
                Operation(
                    client=int(str(who["client"])),
                    action=action,
                    key="k",
                    endpoint="m1",
                    invoked=begin,
                    completed=end,
                    outcome=Outcome.UNKNOWN if end is None else Outcome.OK,
                    **fields,  # type: ignore[arg-type]
                )
            )

    def known(self) -> list[Operation]:
        return [
            op for op in self.operations if op.outcome is Outcome.OK or op.action is not Action.READ
        ]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_what_a_true_register_did_is_linearizable(seed: int) -> None:
    assert Simulation(seed, 40).known() and Search(Simulation(seed, 40).known()).run().linearizable


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 5), PERHAPS)
def test_a_changed_answer_is_found_exactly_when_no_order_explains_it(
    seed: int, place: int, other: str | None
) -> None:
    operations = Simulation(seed, 6, clients=3, lost=0.2).known()
    place %= len(operations) or 1
    for n, op in enumerate(operations):
        if n == place and op.action is Action.READ:
            operations[n] = changed(op, result=other)
        elif n == place and op.succeeded is not None:
            operations[n] = changed(op, succeeded=not op.succeeded)
        elif n == place and op.completed is not None:
            operations[n] = changed(op, completed=op.invoked)
    assert Search(operations).run().linearizable == brute_force(operations)


def changed(op: Operation, **fields: object) -> Operation:
    return replace(op, **fields)  # type: ignore[arg-type]


def test_a_long_history_with_many_unknown_calls_is_decided() -> None:
    operations = Simulation(7, 6000, clients=10, lost=0.02).known()
    assert sum(op.outcome is Outcome.UNKNOWN for op in operations) > 60
    found = Search(operations).run()
    assert found.linearizable
    assert found.tried < 10 * len(operations)


def test_one_stale_read_in_a_long_history_is_found() -> None:
    operations = with_stale_read(Simulation(7, 6000, clients=10, lost=0.02).known())
    found = Search(operations).run()
    assert found.linearizable is False
    assert found.tried < 10 * len(operations)


def test_a_search_without_budget_does_not_answer() -> None:
    found = Search(Simulation(7, 100).known()).run(budget=10)
    assert found.linearizable is None


def test_the_order_found_is_a_possible_one() -> None:
    operations = Simulation(11, 400).known()
    order = Search(operations).run().order
    assert possible(order)
    assert {id(op) for op in operations if op.outcome is Outcome.OK} <= {id(op) for op in order}


def with_stale_read(operations: list[Operation]) -> list[Operation]:
    """A read in the middle returns the first value that was ever written."""
    reads = [op for op in operations if op.action is Action.READ and op.result]
    middle = reads[len(reads) // 2]
    early = next(op for op in operations if op.action is Action.WRITE and op.completed)
    return [changed(op, result=early.argument) if op is middle else op for op in operations]


def test_many_unknown_writes_that_no_read_saw_are_equivalent() -> None:
    """Any of them may be why swaps were refused; which one makes no difference."""

    def call(number: int, action: Action, **fields: object) -> Operation:
        fields = {"completed": number + 0.5, "outcome": Outcome.OK, **fields}
        return Operation(0, action, "k", "m1", number, **fields)  # type: ignore[arg-type]

    unknown: dict[str, object] = {"completed": None, "outcome": Outcome.UNKNOWN}
    operations = [call(n, Action.WRITE, argument=f"lost {n}", **unknown) for n in range(40)]
    for number in range(100, 130, 2):
        value = str(number)
        operations.append(call(number, Action.WRITE, argument=value))
        refused = {"expected": value, "argument": "x", "succeeded": False}
        operations.append(call(number + 1, Action.CAS, **refused))
    assert Search(operations).run().linearizable
    operations.append(call(200, Action.READ, result="ghost"))
    found = Search(operations).run()
    assert found.linearizable is False
    assert found.tried < 100
