"""Every key is a linearizable register: each call takes effect at one moment within its duration.

Uses calls, responses and times alone; `realtime` and `answers` check revisions. Calls left out,
with the check that covers each:

- failed calls: they had no effect (`acknowledged` checks that in the final history);
- unknown reads: no client saw the response;
- serializable reads: they may be stale (`answers` checks them);
- the parts of a failed txn over several keys: one of its comparisons failed, and for one key alone
  any of them may have held (`atomic` checks them together).

A key attached to a lease can be deleted without a call. Each grant therefore adds a delete of
unknown outcome: from then on the lease may end, once.
"""

from __future__ import annotations

from collections import defaultdict

from ..history import Action, History, LeaseCall, Operation, Outcome
from . import counterexample
from .search import BUDGET, Search
from .verdict import Findings, Verdict

#: States for each call; a linearizable history rarely needs as many.
_QUICK = 6


def check(history: History, budget: int = BUDGET) -> Verdict:
    """Check each key's history; `budget` bounds the work for one key, in states of the search."""
    findings = Findings("linearizable", "calls")
    by_key = calls_by_key(history)
    undecided = []
    for key, operations in sorted(by_key.items()):
        findings.checked += len(operations)
        # A linearizable history is ordered almost without backtracking; longer searches use
        # the bisection of `counterexample`.
        quick = Search(operations).run(min(budget, _QUICK * len(operations) + _QUICK))
        if quick.linearizable:
            continue
        found = counterexample.find(operations, budget)
        if found is not None:
            findings.problem(*counterexample.explain(key, found))
        elif quick.linearizable is False:
            findings.problem(f"key {key}: no order explains all answers")
        elif not Search(operations).run(budget).linearizable:
            undecided.append(key)
    if undecided:
        names = ", ".join(undecided[:5]) + ("…" if len(undecided) > 5 else "")
        findings.doubt(
            f"no answer within {budget:,} states for {len(undecided)} of {len(by_key)} keys: "
            f"{names}"
        )
    findings.note(f"{len(by_key):,} keys")
    return findings.verdict()


def calls_by_key(history: History) -> dict[str, list[Operation]]:
    """Return the calls that the search must order, by key."""
    refused = refused_groups(history)
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for op in history.operations:
        if op.outcome is Outcome.FAILED or op.group in refused:
            continue
        if op.action is Action.READ and (op.serializable or op.outcome is Outcome.UNKNOWN):
            continue
        by_key[op.key].append(op)
    for call in history.leases:
        if call.action == "grant" and call.outcome is not Outcome.FAILED and call.key in by_key:
            by_key[call.key].append(_ending(call))
    return by_key


def refused_groups(history: History) -> set[int]:
    """Return the txns over several keys of which a comparison is known to have failed."""
    sizes: dict[int, int] = defaultdict(int)
    refused = set()
    for op in history.operations:
        if op.group:
            sizes[op.group] += 1
            if op.outcome is Outcome.OK and op.succeeded is False:
                refused.add(op.group)
    return {group for group in refused if sizes[group] > 1}


def _ending(grant: LeaseCall) -> Operation:
    return Operation(
        client=grant.client,
        action=Action.DELETE,
        key=grant.key,
        endpoint=grant.endpoint,
        invoked=grant.invoked,
        completed=None,
        outcome=Outcome.UNKNOWN,
        error=f"end of lease {grant.lease:x}",
    )
