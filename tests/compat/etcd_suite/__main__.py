"""`make test-compat ARGS="[common|e2e|robustness …] [--run PATTERN] [--subject etcd] [--page]"`.

Exit code: 0 if every result is as expected, 1 otherwise, 2 if the suites cannot run here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.compat.etcd_suite import page
from tests.compat.etcd_suite.build import ROBUSTNESS, SUITES
from tests.compat.etcd_suite.cases import LIMIT, LIMIT_OF_FAILURES, Suite, programs
from tests.compat.etcd_suite.expected import NOT_RUN, Expected, load
from tests.compat.etcd_suite.outcome import Result
from tests.compat.etcd_suite.robustness.rounds import MINIMAL_QPS, run_rounds

#: util-linux has the first two; the third sends peer connections through the suite's proxies.
PROGRAMS = ("unshare", "setpriv", "iptables")
EXPECTED = Path(__file__).parent / "expected"


def main() -> int:
    arguments = _parser().parse_args()
    build = Path(arguments.build).resolve()
    if arguments.page:
        page.write(build, arguments.version, EXPECTED / f"{arguments.version}.toml")
        return 0
    missing = [each for each in PROGRAMS if not shutil.which(each)]
    if os.geteuid() != 0 or missing:
        print("etcd's suites need root, and", ", ".join(PROGRAMS), "for a network and process")
        print("namespace for every test; missing:", ", ".join(missing) or "root")
        return 2
    good = True
    for name in arguments.suites or ["common"]:
        if name == ROBUSTNESS:
            good &= _robustness(build, arguments)
            continue
        suite = Suite(build, name, arguments.version)
        expected = load(EXPECTED / f"{arguments.version}.toml", name)
        if arguments.subject == "etcd":
            expected = Expected()
        with programs(build, arguments.version, arguments.subject) as directory:
            good &= _run(suite, expected, directory, arguments)
    return 0 if good else 1


def _robustness(build: Path, arguments: argparse.Namespace) -> bool:
    with programs(build, arguments.version, arguments.subject) as directory:
        return run_rounds(
            build,
            directory,
            arguments.run,
            arguments.rounds,
            arguments.minimal_qps,
            keep=arguments.subject == "rusd",
        )


def _run(suite: Suite, expected: Expected, directory: Path, arguments: argparse.Namespace) -> bool:
    functions = suite.functions(arguments.run)
    if not functions:
        print(f"no test function of {suite.name} matches {arguments.run}")
        return False
    results: dict[str, str] = {
        function: NOT_RUN for function in functions if expected.result(function) == NOT_RUN
    }
    wanted = [function for function in functions if function not in results]
    again: list[str] = []

    def run(function: str) -> dict[str, Result]:
        limit = LIMIT_OF_FAILURES if expected.may_hang(function) else LIMIT
        return suite.run(function, directory, limit)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {pool.submit(run, function): function for function in wanted}
        for done in as_completed(runs):
            found = done.result()
            if expected.differences(found):
                again.append(runs[done])
            results |= found
            print(f"{suite.name} {runs[done]}: {_summary(list(found.values()))}", flush=True)
    # A loaded machine exceeds limits that a quiet one keeps: unexpected results need a second
    # run, one function at a time.
    for function in again:
        for leaf in [each for each in results if each.split("/")[0] == function]:
            del results[leaf]
        found = run(function)
        results |= found
        if not expected.differences(found):
            print(f"{suite.name} {function}: as expected only when run again, alone")
    differences = expected.differences(results)
    if arguments.run == ".":
        differences |= {
            pattern: "matches no leaf; remove it" for pattern in expected.unused(results)
        }
        if arguments.subject == "rusd":
            (suite.build / "results" / f"{suite.name}.json").write_text(
                json.dumps(results, indent=1, sort_keys=True)
            )
    print(f"{suite.name} of etcd {suite.version}: {_summary(list(results.values()))}")
    for leaf, sentence in sorted(differences.items()):
        print(f"UNEXPECTED {leaf}: {sentence}")
    return not differences


def _summary(results: list[str]) -> str:
    counts = {each: results.count(each) for each in ("pass", "fail", "skip", NOT_RUN)}
    return ", ".join(f"{count} {each}" for each, count in counts.items() if count)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="test-compat", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", choices=[*SUITES, ROBUSTNESS, []], help="default: common"
    )
    parser.add_argument("--build", required=True, help="directory of the compiled suites")
    parser.add_argument("--version", required=True, help="etcd's version, as v3.7.3")
    parser.add_argument("--run", default=".", help="regular expression of functions or cases")
    parser.add_argument("--subject", default="rusd", choices=["rusd", "etcd"])
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 2))
    parser.add_argument("--rounds", type=int, default=1, help="of robustness: runs of each case")
    parser.add_argument(
        "--minimal-qps",
        type=float,
        default=MINIMAL_QPS,
        help="of robustness: requests a second below which a run is called slow",
    )
    parser.add_argument("--page", action="store_true", help="only write docs/compatibility.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
