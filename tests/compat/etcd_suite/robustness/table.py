"""The section `robustness` of docs/compatibility.md, from the results of all stored runs."""

from __future__ import annotations

from collections.abc import Iterable

from tests.compat.etcd_suite.robustness.runs import FAIL, PASS, SLOW, UNAVAILABLE, Run
from tests.compat.etcd_suite.robustness.scenarios import ISSUES, NOT_RUN, cases

_HEAD = """\
## robustness

Random traffic of 8 clients and 8 that watch on clusters of one or three members, a fault, then the
suite's own validation of what they and a watcher at each member saw: linearizability of all
requests (of failed ones the writes, which may have taken effect), reads of old revisions, and the
guarantees of watches. Each run is validated against the requests in the members' logs.
`make test-compat ARGS="robustness"` (needs
Go, root, iptables); every stored run counts.

"""

_FAULTS = """\
Faults: `Kill` ends a random member with SIGKILL and starts it again. `blackholePeerNetwork` (1 s),
`blackholeUntilSnapshot` (until the member needs a snapshot), `delayPeerNetwork` (75 ± 50 ms, 1 s)
and `dropPeerNetwork` (half of what is sent, 1 s) are faults of all peer connections of a random
member, whichever side dialled them. `MemberReplace` removes a member, deletes its data and adds it
again. `isolateLeader` is one of ours: it cuts the leader off for 5 s.
"""


def section(runs: Iterable[Run]) -> str:
    """Return the section: sums, a row for each scenario and fault, what is not run."""
    found = list(runs)
    known = {case.name for case in cases()}
    ran = [run for run in found if run.result != UNAVAILABLE and run.case in known]
    requests = sum(run.answered + run.failed for run in ran)
    results = [run.result for run in ran]
    slow = results.count(SLOW)
    sums = (
        f"{len(ran)} runs of {len({run.case for run in ran})} cases, {requests:,} requests and"
        f" {sum(run.events for run in ran):,} watch events validated: {results.count(PASS)} runs"
        f" pass, {results.count(FAIL)} fail"
    )
    if slow:
        sums += f", {slow} are valid and had fewer requests a second before the fault than demanded"
    lines = [sums + ".", ""]
    lines += ["| scenario | fault | runs | requests | result |", "|---|---|---|---|---|"]
    for case in cases():
        of_case = [run for run in ran if run.case == case.name]
        replaced = " in place of a failpoint" if ISSUES.get(case.scenario) == "" else ""
        count = sum(run.answered + run.failed for run in of_case)
        lines.append(
            f"| {case.scenario} | {case.fault}{replaced} | {len(of_case)} | {count:,} |"
            f" {_result([run.result for run in of_case])} |"
        )
    lines += ["", _FAULTS, "Not run:", ""]
    lines += [f"- {what}: {why}" for what, why in NOT_RUN.items()]
    return _HEAD + "\n".join(lines) + "\n"


def _result(results: list[str]) -> str:
    if not results:
        return "no result"
    bad = results.count(FAIL)
    return f"{bad} of {len(results)} fail" if bad else "pass"
