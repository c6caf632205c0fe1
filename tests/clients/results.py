"""Reads the results of tests from what the runners of each language print."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

#: Name of a test, and one of "ok", "skipped" or what is known of its failure.
Results = dict[str, str]
Reader = Callable[[str], Results]


def of_lines(output: str) -> Results:
    """Lines `ok TEXT` and `failed TEXT: ERROR` of the scripts here."""
    found: Results = {}
    for line in output.splitlines():
        result, _, text = line.partition(" ")
        if result == "ok":
            found[text] = result
        elif result == "failed":
            found[text.partition(":")[0]] = text
    return found


def of_go(output: str) -> Results:
    """Events of `go test -json`; a test with sub-tests is left to them."""
    ends, said = {}, dict[str, str]()
    for line in output.splitlines():
        event = json.loads(line)
        name = event.get("Test")
        if name and event["Action"] == "output":
            said[name] = said.get(name, "") + event["Output"]
        elif name and event["Action"] in ("pass", "fail", "skip"):
            ends[name] = event["Action"]
    outer = {name.rpartition("/")[0] for name in said}
    # A test without an end was cut off, by a panic or the time limit.
    words = {"pass": "ok", "skip": "skipped"}
    return {
        name: words.get(ends.get(name, ""), text)
        for name, text in said.items()
        if name not in outer
    }


def of_cargo(output: str) -> Results:
    """Lines of `cargo test`: `test NAME ... ok`, `FAILED` or `ignored`."""
    found = dict(re.findall(r"^test (\S+) (?:- should panic )?\.\.\. (\w+)", output, re.MULTILINE))
    return {name: {"ignored": "skipped"}.get(word, word) for name, word in found.items()}


def of_pytest(output: str) -> Results:
    """Lines of the summary that `pytest -rA` ends with; skipped tests have no name there."""
    lines = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)(.*)", output, re.MULTILINE)
    return {name: "ok" if word == "PASSED" else word + text for word, name, text in lines}
