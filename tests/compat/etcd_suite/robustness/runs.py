"""Runs one case, and reads what the suite's output says about it.

A run that fails leaves its output and the suite's report (data directories, what every client sent
and received) in `build/etcd-VERSION/results/robustness/`.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.compat.etcd_suite.cases import isolated
from tests.compat.etcd_suite.robustness.scenarios import Case

#: Seconds a run may take: the suite gives up validation after 300 s.
LIMIT = 600
#: Draws of a scenario's random options until they allow the fault.
DRAWS = 12

PASS, FAIL, SLOW, UNAVAILABLE = "pass", "fail", "slow", "unavailable"

#: What the suite logs for each validation.
_VALIDATIONS = (
    "Linearization success",
    "Watch validation success",
    "Serializable validation success",
)
_COUNTS = re.compile(r"Reporting (complete traffic|complete watch)\s+(\{.*\})")
_ERROR = re.compile(r"^\s+\w+\.go:\d+: (?!\d{4}-\d\d-\d\dT)(.*)$", re.MULTILINE)
_TOO_SLOW = "Requiring minimal"


@dataclass(frozen=True)
class Run:
    """Result of one run."""

    case: str
    result: str
    #: Requests that were answered, and that failed or had no answer; all are validated.
    answered: int = 0
    failed: int = 0
    #: Events that watches delivered.
    events: int = 0
    seconds: float = 0.0


def read(case: str, output: str, code: int) -> Run:
    """Return what the suite's `output` says; `code` is its exit code."""
    counts = {what: json.loads(fields) for what, fields in _COUNTS.findall(output)}
    traffic = counts.get("complete traffic", {})
    validated = all(line in output for line in _VALIDATIONS)
    if code == 0:
        # (A skipped scenario is no success either.)
        result = PASS if validated else FAIL
    elif "no available failpoints" in output:
        result = UNAVAILABLE
    elif validated and _TOO_SLOW in output and _errors(output) == 1:
        result = SLOW
    else:
        result = FAIL
    return Run(
        case,
        result,
        traffic.get("successes", 0),
        traffic.get("failures", 0),
        counts.get("complete watch", {}).get("events", 0),
    )


def _errors(output: str) -> int:
    """Return the number of errors: lines that the test itself printed, but for its notes."""
    notes = ("Blackholing", "Traffic restored", "clusterRevision", "Changing working directory")
    return sum(not line.startswith(notes) for line in _ERROR.findall(output))


def run(build: Path, programs: Path, case: Case, minimal_qps: float) -> Run:
    """Run `case`, again while its random options do not allow the fault."""
    began = time.monotonic()
    for _ in range(DRAWS):
        found = _run(build, programs, case, minimal_qps)
        if found.result != UNAVAILABLE:
            break
    return Run(**asdict(found) | {"seconds": round(time.monotonic() - began, 1)})


def _run(build: Path, programs: Path, case: Case, minimal_qps: float) -> Run:
    results = build / "results" / "robustness"
    kept = results / f"{case.name.replace('/', '-')}.{time.time_ns()}"
    kept.mkdir(parents=True)
    log = kept / "output"
    command: list[str | Path] = [
        *(build / "robustness.test", "-bin-dir", programs, "-test.v"),
        *(f"-test.timeout={LIMIT}s", f"-test.run={case.pattern}"),
    ]
    variables = {
        "FAILPOINT": case.fault,
        "MINIMAL_QPS": str(minimal_qps),
        "RESULTS_DIR": str(kept),
        "EXPECT_DEBUG": "true",  # output of the members
    }
    if (programs / "journal").exists():
        variables["JOURNAL_READER"] = str(programs / "journal")
    code = isolated(build, "robustness", command, LIMIT, log, variables)
    found = read(case.name, log.read_text(errors="replace"), code)
    if found.result != FAIL:
        shutil.rmtree(kept)
    return found
