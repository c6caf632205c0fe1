"""Write the sections of docs/compatibility.md from the results of the last whole runs and the
expectation. What stands before the sections is written by hand.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.compat.etcd_suite.build import ROBUSTNESS, SUITES
from tests.compat.etcd_suite.cases import Suite
from tests.compat.etcd_suite.expected import NOT_RUN, Expected, load
from tests.compat.etcd_suite.robustness import rounds, table

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"
#: Names of the cluster configurations of `common`, as they stand in the names of sub-tests.
CONFIGURATIONS = ("NoTLS", "PeerTLS_and_ClientTLS", "PeerAutoTLS_and_ClientAutoTLS")
ANY = "others"
#: A function that was not among those of the last run.
NO_RESULT = "no result"


def write(build: Path, version: str, expectation: Path) -> None:
    """Write the sections of the suites of `version` that have stored results anew; the rest of the
    page stays, with the sections of other versions.

    FileNotFoundError if no suite has any.
    """
    sections: dict[str, str] = {}
    for name in SUITES:
        stored = build / "results" / f"{name}.json"
        if stored.exists():
            results = json.loads(stored.read_text())
            seen = {leaf.split("/")[0] for leaf in results}
            missing = set(Suite(build, name, version).functions(".")) - seen
            results |= dict.fromkeys(missing, NO_RESULT)
            title = f"{name} of {version}"
            sections[title] = section(title, results, load(expectation, name))
    if rounds.stored(build).exists():
        sections[ROBUSTNESS] = table.section(rounds.load(build))
    if not sections:
        raise FileNotFoundError(f"no results in {build / 'results'}")
    PAGE.write_text(with_sections(PAGE.read_text(), sections))


def with_sections(text: str, sections: Mapping[str, str]) -> str:
    """Return the page `text` with `sections` (name -> its text) in the places of those that it has,
    or at its end.
    """
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    found = {part.partition("\n")[0].removeprefix("## "): part for part in parts}
    return head + "\n".join(part.strip("\n") + "\n" for part in (found | dict(sections)).values())


def section(title: str, results: Mapping[str, str], expected: Expected) -> str:
    """Return the section of one suite of one version: sums, table, reasons."""
    total = len(results)
    passed = sum(result == "pass" for result in results.values())
    functions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    marks: dict[str, set[int]] = defaultdict(set)
    reasons = {group.reason: number for number, group in enumerate(expected.groups, 1)}
    for leaf, result in sorted(results.items()):
        function = leaf.split("/")[0]
        functions[function][_configuration(leaf)].append(result)
        group = expected.group(leaf)
        if result != "pass" and group:
            marks[function].add(reasons[group.reason])
    columns = [
        each
        for each in (*CONFIGURATIONS, ANY)
        if any(each in found for found in functions.values())
    ]
    lines = [
        f"## {title}",
        "",
        f"{passed} of {total} leaves pass, in {len(functions)} functions.",
        "",
        "| function | " + " | ".join(columns) + " | reasons |",
        "|---|" + "---|" * (len(columns) + 1),
    ]
    for function, found in functions.items():
        cells = [_cell(found.get(column, ())) for column in columns]
        numbers = ", ".join(str(mark) for mark in sorted(marks[function]))
        lines.append(f"| {function} | " + " | ".join(cells) + f" | {numbers} |")
    lines += ["", "Reasons:", ""]
    lines += [
        f"{number}. {reason} ({group.result})"
        for (reason, number), group in zip(reasons.items(), expected.groups, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _configuration(leaf: str) -> str:
    return next((part for part in leaf.split("/") if part in CONFIGURATIONS), ANY)


def _cell(results: Iterable[str]) -> str:
    found = list(results)
    good = found.count("pass")
    if not found:
        return ""
    for whole in ("skip", NOT_RUN, NO_RESULT):
        if found.count(whole) == len(found):
            return whole
    return str(good) if good == len(found) else f"{good}/{len(found)}"
