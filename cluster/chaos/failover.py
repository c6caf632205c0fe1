"""Measures the write outage when the leader ends: `python -m cluster.chaos.failover`.

One cluster of each subject runs throughout. Rounds alternate between the subjects and the ways to
end a leader, so that other load on this machine affects all of them alike. All members of all
subjects have the same heartbeat interval and election timeout.

- kill: SIGKILL. The kernel closes the leader's connections: a member that notices this need not
  wait for an election timeout.
- pause: SIGSTOP. The connections stay open without traffic, as after a power loss or a cut cable.
  Followers can detect this by the election timeout alone.
- stop: SIGTERM. A leader may transfer leadership before it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from .gaps import Gap, Puts, gap
from .subject import TIMES, Subject

KINDS = ("kill", "pause", "stop")
#: Seconds of puts before a leader ends, and after all are served again.
BEFORE = 1.0
AFTER = 0.5

#: (subject, kind) -> one gap per round.
Results = dict[tuple[str, str], list[Gap]]


def measure(subject: Subject, kind: str) -> Gap:
    """End the leader of a healthy cluster, and start it again when all others are served."""
    subject.wait_healthy(60.0)
    leader = subject.leader()
    survivors = [member for member in range(subject.size) if member != leader]
    puts = Puts(subject.endpoints)
    try:
        puts.wait_acks(range(subject.size), time.monotonic())
        time.sleep(BEFORE)
        began = time.monotonic()
        end = {"kill": subject.kill, "pause": subject.pause, "stop": subject.stop_in_order}
        end[kind](leader)
        puts.wait_acks(survivors, time.monotonic())
        time.sleep(AFTER)
        found = gap(puts.acks(), began, survivors)
    finally:
        puts.close()
        subject.resume(leader)
    subject.start_again(leader)
    return found


def run(names: Sequence[str], rounds: int, size: int) -> Results:
    """Runs all rounds, and reports each on standard error."""
    results: Results = {(name, kind): [] for kind in KINDS for name in names}
    with contextlib.ExitStack() as stack:
        subjects = {
            name: stack.enter_context(Subject(name, size, network="none", with_disks=False))
            for name in names
        }
        for number in range(rounds):
            for (name, kind), gaps in results.items():
                gaps.append(measure(subjects[name], kind))
                said = f"{1000 * gaps[-1].cluster:.0f} ms"
                print(f"{number + 1}/{rounds} {kind} {name}: {said}", file=sys.stderr, flush=True)
    return results


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Format median, 90th and 99th percentile (nearest rank) and maximum, in milliseconds."""
    ordered = sorted(1000 * each for each in seconds)

    def rank(percent: int) -> float:
        return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

    found = {"median": statistics.median(ordered), "p90": rank(90), "p99": rank(99)}
    return {name: round(each, 1) for name, each in (found | {"max": ordered[-1]}).items()}


def table(results: Mapping[tuple[str, str], Sequence[Gap]]) -> str:
    """Format one line for each subject and kind, with the ratio to the kind's last subject."""
    lines = [
        f"{'leader':8}{'subject':12}{'whose':10}{'median':>9}{'p90':>9}{'p99':>9}{'max':>9}  ms"
    ]
    for kind in dict.fromkeys(kind for _, kind in results):
        names = [name for name, its in results if its == kind]
        for whose in ("cluster", "slowest"):
            rows = {
                name: summary([getattr(one, whose) for one in results[name, kind]])
                for name in names
            }
            for name, row in rows.items():
                numbers = "".join(f"{each:9.1f}" for each in row.values())
                lines.append(f"{kind:8}{name.rpartition('/')[2]:12}{whose:10}{numbers}")
            if len(names) > 1:
                one, other = rows[names[0]], rows[names[-1]]
                ratios = "".join(f"{one[each] / other[each]:9.2f}" for each in one)
                lines.append(f"{'':8}{'ratio':12}{whose:10}{ratios}")
    rounds = min(map(len, results.values()))
    if rounds < 100:
        lines.append(f"{rounds} rounds: too few for a 99th percentile, the greatest stands for it")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    made = argparse.ArgumentParser(prog=f"python -m {__package__}.failover", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--rounds", type=int, default=30, help="of each subject and kind (30)")
    made.add_argument("--subjects", default="rusd,etcd", help="comma-separated (rusd,etcd)")
    made.add_argument("--size", type=int, default=3, help="members of each (3)")
    made.add_argument("--json", type=Path, help="file for all numbers")
    options = made.parse_args(arguments)
    names = options.subjects.split(",")
    try:
        results = run(names, options.rounds, options.size)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    if options.json:
        numbers = [
            {
                "subject": name,
                "kind": kind,
                "cluster_ms": summary([one.cluster for one in gaps]),
                "slowest_ms": summary([one.slowest for one in gaps]),
                "rounds_seconds": [asdict(one) for one in gaps],
            }
            for (name, kind), gaps in results.items()
        ]
        about = {"flags": TIMES, "members": options.size, "rounds": options.rounds}
        options.json.write_text(json.dumps({**about, "results": numbers}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
