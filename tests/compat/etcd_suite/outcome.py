"""Results of leaves, from the events that `test2json` makes of a test binary's output.

A leaf is a sub-test that has no sub-tests, or a function without any. The result of a parent
follows from its leaves, except when it failed by itself: then it counts as a leaf too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal, cast

Result = Literal["pass", "fail", "skip"]


def leaves(function: str, events: Iterable[str]) -> dict[str, Result]:
    """Return the result of each leaf of `function`; one that did not end has failed."""
    found: dict[str, Result] = {}
    for line in events:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # output beside the events, as of a panic
        name = event.get("Test", "")
        if name != function and not name.startswith(function + "/"):
            continue
        if event["Action"] == "run":
            found[name] = "fail"
        elif event["Action"] in ("pass", "fail", "skip"):
            found[name] = cast(Result, event["Action"])
    if not found:
        return {function: "fail"}
    parents = {parent for name in found for parent in _parents(name)}
    failed_below = {parent for name in found if found[name] == "fail" for parent in _parents(name)}
    return {
        name: result
        for name, result in found.items()
        if name not in parents or (result == "fail" and name not in failed_below)
    }


def _parents(name: str) -> Iterable[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
