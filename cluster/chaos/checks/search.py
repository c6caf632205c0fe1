"""Searches for an order of calls on one register that explains every response.

Wing and Gong's search as in Porcupine: repeatedly select a call that no other unplaced call ended
before, place it next in the order if the register allows it, backtrack if none fits, and remember
every failed (placed calls, value) (Lowe). `Search.run` is exact: it decides by calls, responses and
times alone, or reports that its budget is exhausted.

Optimisations for thousands of calls with dozens of unknown outcomes:

- Reads and failed compare-and-swaps change nothing. One that fits the current value is placed at
  once, and no other choice is tried: in any order that completes the search it can be moved to
  this position without effect on the others.
- A call of unknown outcome may take effect at any time after it began, or never. It is placed only
  where the call that follows needs the value it leaves. For take any valid order. An unknown call
  that is followed by an overwriting one was never read: leave it out. One that is followed by a
  call which would also have fitted without it can be placed behind that call, since it never ends.
  Repeat, and every unknown call stands in a shortest chain right before a call that did not fit
  without the chain. (A chain starts from the current value or with an unconditional call, goes on
  by compare-and-swaps, and visits no value twice, since the calls between two visits could be left
  out.) No other chain needs trying, and an unknown value that was never read is not tried at all.
- Unknown calls with equal effects are interchangeable: the one that began first is used.
- A value that only one call writes cannot recur: it is not overwritten before all calls that saw
  it are placed.
- Values that were never read or compared are equivalent.
- Fewer used unknown calls are never worse: a state is pruned if the same calls were placed before
  with the same value and a subset of its unknown calls.
- If responses carry revisions, the lowest is tried first. This affects only the order of the
  search: every other choice is tried before the result is negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from ..history import Action, Operation, Outcome

#: Text, or None: absent.
Value = str | None

#: States entered for one key before the search stops: some seconds.
BUDGET = 1_000_000


@dataclass(frozen=True, slots=True)
class Linearization:
    """The result of a search. `linearizable` is None if the budget was exhausted.

    `order` holds all certain calls and the unknown ones that had to take effect, if there is one.
    `tried` states were entered.
    """

    linearizable: bool | None
    order: tuple[Operation, ...]
    tried: int


@dataclass(slots=True)
class _State:
    """One state of the search and its successors that were not tried yet."""

    #: All certain calls before this index are placed.
    low: int
    #: Bit n: certain call low + n is placed.
    placed: int
    #: Bit n: unknown call n is used.
    used: int
    value: Value
    candidates: Iterator[tuple[tuple[int, ...], int]]
    #: The step that led here: unknown calls used, then the certain call.
    chain: tuple[int, ...] = ()
    call: int = -1


class Search:
    """The calls on one key.

    Failed calls and unknown reads must have been left out, as must refused parts of a txn over
    several keys (which of the comparisons failed is not known).
    """

    def __init__(self, operations: list[Operation], initial: Value = None) -> None:
        by_beginning = sorted(operations, key=lambda op: op.invoked)
        self._certain = [op for op in by_beginning if op.outcome is Outcome.OK]
        self._unknown = [op for op in by_beginning if op.outcome is Outcome.UNKNOWN]
        self._begun = [op.invoked for op in self._certain]
        self._ended = [inf if op.completed is None else op.completed for op in self._certain]
        self._initial = initial
        # Values that some call saw or expected; all others are equivalent.
        self._noticed: set[Value] = {None, initial}
        for op in operations:
            if op.action is Action.READ:
                self._noticed.add(op.result)
            elif op.action is Action.CAS:
                self._noticed.add(op.expected)
        leaves = (value_after(op) for op in operations if effective(op))
        self._unnoticed = next((value for value in leaves if value not in self._noticed), None)
        # Unknown calls by the value they leave; calls of equal effect together, earliest first.
        effects: dict[tuple[bool, Value, Value], list[int]] = {}
        for number, op in enumerate(self._unknown):
            effects.setdefault(self._effect(op), []).append(number)
        self._makers: dict[Value, list[tuple[bool, Value, list[int]]]] = {}
        for (blind, expected, result), numbers in effects.items():
            self._makers.setdefault(result, []).append((blind, expected, numbers))
        # The reader of a value that only one call writes.
        made = Counter(value_after(op) for op in operations if op.action is not Action.READ)
        made[initial] += 1
        self._witnesses: dict[Value, list[int]] = {}
        for call, op in enumerate(self._certain):
            seen = value_seen(op)
            if seen is not None and made[seen[0]] == 1:
                self._witnesses.setdefault(seen[0], []).append(call)

    def run(self, budget: int = BUDGET) -> Linearization:
        """Search until the result is certain or `budget` states were entered."""
        count = len(self._certain)
        seen: dict[tuple[int, int, Value], list[int]] = {}
        path = [self._enter(0, 0, 0, self._initial)]
        tried = 1
        while path:
            here = path[-1]
            if here.low == count:
                return Linearization(True, self._order(path), tried)
            candidate = next(here.candidates, None)
            if candidate is None:
                path.pop()
                continue
            chain, call = candidate
            low, placed = here.low, here.placed | 1 << (call - here.low)
            done = _trailing_ones(placed)
            low, placed = low + done, placed >> done
            used = here.used
            for number in chain:
                used |= 1 << number
            value = self._after(here.value, chain, call)
            if self._leaves_witnesses(here.value, chain, call, value, low, placed):
                continue
            smaller = seen.setdefault((low, placed, value), [])
            if any(earlier & used == earlier for earlier in smaller):
                continue
            smaller.append(used)
            if tried >= budget:
                return Linearization(None, (), tried)
            tried += 1
            path.append(self._enter(low, placed, used, value, chain, call))
        return Linearization(False, (), tried)

    # --- one state -----------------------------------------------------------------------------

    def _enter(
        self,
        low: int,
        placed: int,
        used: int,
        value: Value,
        chain: tuple[int, ...] = (),
        call: int = -1,
    ) -> _State:
        state = _State(low, placed, used, value, iter(()), chain, call)
        state.candidates = self._candidates(state)
        return state

    def _next(self, state: _State) -> tuple[list[int], float]:
        """Return the calls that may be placed next, and the time by which they must begin."""
        calls: list[int] = []
        first_end = inf
        index, placed = state.low, state.placed
        while True:
            skip = _trailing_ones(placed)
            index, placed = index + skip, placed >> skip
            if index >= len(self._certain) or self._begun[index] > first_end:
                return calls, first_end
            calls.append(index)
            first_end = min(first_end, self._ended[index])
            index, placed = index + 1, placed >> 1

    def _candidates(self, state: _State) -> Iterator[tuple[tuple[int, ...], int]]:
        """Return (chain of unknown calls, certain call) pairs that may come next, best first."""
        calls, first_end = self._next(state)
        for call in calls:
            op = self._certain[call]
            if not effective(op) and _explains(op, state.value):
                yield (), call
                return
        calls.sort(key=lambda call: (self._certain[call].revision or inf, self._ended[call]))
        for call in calls:
            op = self._certain[call]
            if _explains(op, state.value):
                yield (), call
            elif (needed := value_seen(op)) is not None:
                for chain in self._chains(needed[0], state, first_end, frozenset(needed)):
                    yield chain, call
            else:
                for number in self._other_values(state, first_end):
                    yield (number,), call

    def _chains(
        self, needed: Value, state: _State, first_end: float, visited: frozenset[Value]
    ) -> Iterator[tuple[int, ...]]:
        """Return chains of unknown calls that lead from the current value, or any, to `needed`."""
        for blind, expected, numbers in self._makers.get(needed, ()):
            number = self._usable(numbers, state.used, first_end)
            if number is None:
                continue
            if blind or expected == state.value:
                yield (number,)
            elif expected not in visited:
                for chain in self._chains(expected, state, first_end, visited | {expected}):
                    yield (*chain, number)

    def _other_values(self, state: _State, first_end: float) -> Iterator[int]:
        """Return unknown calls that leave another value than the current one."""
        for result, makers in self._makers.items():
            if result == state.value:
                continue
            for blind, expected, numbers in makers:
                if blind or expected == state.value:
                    number = self._usable(numbers, state.used, first_end)
                    if number is not None:
                        yield number

    def _usable(self, numbers: list[int], used: int, first_end: float) -> int | None:
        for number in numbers:
            if not used >> number & 1:
                return number if self._unknown[number].invoked <= first_end else None
        return None

    def _after(self, value: Value, chain: tuple[int, ...], call: int) -> Value:
        op = self._certain[call]
        if effective(op):
            return self._value_class(op)
        return self._value_class(self._unknown[chain[-1]]) if chain else value

    def _value_class(self, op: Operation) -> Value:
        """Return the value it leaves, or the representative of equivalent values."""
        value = value_after(op)
        return value if value in self._noticed else self._unnoticed

    def _effect(self, op: Operation) -> tuple[bool, Value, Value]:
        """Return (unconditional, expected value, value it leaves) of a call of unknown outcome."""
        blind = op.action is not Action.CAS
        return blind, None if blind else op.expected, self._value_class(op)

    def _leaves_witnesses(
        self, value: Value, chain: tuple[int, ...], call: int, after: Value, low: int, placed: int
    ) -> bool:
        """Return whether this step overwrites, permanently, a value that an unplaced call saw."""
        if not chain and value == after:
            return False
        passed = [value, *(value_after(self._unknown[number]) for number in chain)]
        return any(
            witness >= low and not placed >> (witness - low) & 1
            for one in passed
            if one != after
            for witness in self._witnesses.get(one, ())
        )

    def _order(self, path: list[_State]) -> tuple[Operation, ...]:
        order: list[Operation] = []
        for state in path[1:]:
            order += (self._unknown[number] for number in state.chain)
            order.append(self._certain[state.call])
        return tuple(order)


def effective(op: Operation) -> bool:
    """Return whether the call, if applied, changed its key (a failed compare-and-swap did not)."""
    if op.action is Action.CAS:
        return op.succeeded is not False
    return op.action is not Action.READ


def value_after(op: Operation) -> Value:
    """Return the value that an effective call leaves."""
    return None if op.action is Action.DELETE else op.argument


def value_seen(op: Operation) -> tuple[Value] | None:
    """Return the value that the call must have met, if its response determines one."""
    if op.action is Action.READ:
        return (op.result,)
    return (op.expected,) if op.succeeded else None


def _explains(op: Operation, value: Value) -> bool:
    """Return whether a register that holds `value` gives the recorded response."""
    if op.action is Action.READ:
        return op.result == value
    if op.action is Action.CAS:
        return (op.expected == value) == bool(op.succeeded)
    return True


def _trailing_ones(bits: int) -> int:
    """Return the number of consecutive low bits that are set."""
    return ((bits + 1) & ~bits).bit_length() - 1
