"""Runs of all cases, one round after the other.

Every run of rusd is added to `build/etcd-VERSION/results/robustness.jsonl`, one JSON object a line,
from which docs/compatibility.md is written; remove the file to begin anew.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.compat.etcd_suite.robustness.runs import FAIL, Run, run
from tests.compat.etcd_suite.robustness.scenarios import cases

#: The suite's own minimum of answered requests a second before the fault.
MINIMAL_QPS = 100


def run_rounds(
    build: Path, programs: Path, pattern: str, rounds: int, minimal_qps: float, keep: bool
) -> bool:
    """Run the cases whose names match `pattern`; return whether some ran and none failed.

    One run at a time: the requests of the suite have short deadlines. Adds
    the results to those of earlier runs if `keep`.
    """
    wanted = [case for case in cases() if re.search(pattern, case.name)]
    counts: Counter[str] = Counter()
    results = stored(build)
    results.parent.mkdir(exist_ok=True)
    for _ in range(rounds):
        for case in wanted:
            found = run(build, programs, case, minimal_qps)
            counts[found.result] += 1
            counts["requests"] += found.answered + found.failed
            line = json.dumps(asdict(found))
            print(line, flush=True)
            if keep:
                with results.open("a") as file:
                    file.write(line + "\n")
    print("robustness:", ", ".join(f"{count} {what}" for what, count in counts.items()))
    return bool(wanted) and not counts[FAIL]


def stored(build: Path) -> Path:
    return build / "results" / "robustness.jsonl"


def load(build: Path) -> list[Run]:
    """Return all runs whose results are stored."""
    return [Run(**json.loads(line)) for line in stored(build).read_text().splitlines()]
