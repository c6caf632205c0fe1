"""The report: for people, and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rusd.utl.printing import grid, human_size

from ..asking import Status
from ..text import printable
from .facts import Facts
from .findings import Finding, Severity

_TITLES = ("member", "endpoint", "version", "role", "term", "applied", "db size", "in use", "clock")


def lines(
    facts: Facts, findings: Sequence[Finding], passed: Sequence[str], *, verbose: bool, width: int
) -> Iterator[str]:
    """Yield the lines of the report."""
    if rows := list(_rows(facts)):
        yield grid(_TITLES, rows)
        yield ""
    for finding in findings:
        yield from _finding(finding, width)
        yield ""
    if verbose:
        for sentence in passed:
            yield f"ok        {sentence}"
        yield ""
    number = Counter(each.severity for each in findings)
    told = ", ".join(
        f"{number[each]} {each.name.lower()}{'s' * (number[each] > 1)}"
        for each in reversed(Severity)
        if number[each]
    )
    more = "" if verbose else " (--verbose names them)"
    rest = f"; {len(passed)} checks found nothing{more}" if passed else ""
    yield f"{told or 'healthy'}{rest}"


def _rows(facts: Facts) -> Iterator[list[str]]:
    leader = facts.leader()
    for each in facts.observed:
        status = each.status
        id_ = status.member if status is not None else each.expected
        name = next((m.name for m in facts.members or () if m.id == id_), "")
        if status is None:
            state = "silent" if each.silent else "away"
            yield [printable(name), printable(each.url), "", state, "", "", "", "", ""]
            continue
        role = "learner" if status.learner else "leader" if each is leader else "follower"
        told = ""
        if each.clock is not None:
            middle = (each.clock.earliest + each.clock.latest) / 2
            told = f"{middle:+.2f} ± {(each.clock.latest - each.clock.earliest) / 2:.2f} s"
        yield [
            *(printable(name), printable(each.url), printable(status.version), role),
            str(status.term),
            *(str(status.applied), human_size(status.size), human_size(status.in_use), told),
        ]


def _finding(finding: Finding, width: int) -> Iterator[str]:
    subject = f"{finding.subject}: " if finding.subject else ""
    text = f"{finding.severity.name:<9} {subject}{finding.text}"
    yield from textwrap.wrap(
        printable(text),
        width,
        subsequent_indent=" " * 10,
        break_on_hyphens=False,
        break_long_words=False,
    )
    yield f"{'':10}[{finding.code}, {finding.certainty}]"
    for advice in finding.advice:
        # (A command line stays one line, to be copied.)
        if advice.startswith(("rusdctl", "etcdctl")):
            yield f"{'':10}$ {printable(advice)}"
            continue
        yield from textwrap.wrap(
            printable(advice),
            width,
            initial_indent=" " * 10 + "- ",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )


def _status(status: Status) -> dict[str, Any]:
    # (Identifiers in hexadecimal, as etcdctl's tables: 64 bits are more than JSON's readers keep.)
    ids = {name: f"{getattr(status, name):x}" for name in ("cluster", "member", "leader")}
    return asdict(status) | ids


def as_json(
    facts: Facts, findings: Sequence[Finding], passed: Sequence[str], code: int
) -> dict[str, Any]:
    """Return the report as one object."""
    return {
        "exit": code,
        "worst": max(findings, key=lambda one: one.severity).severity.name.lower()
        if findings
        else "healthy",
        "interval": facts.interval,
        "members": [
            {
                "endpoint": each.url,
                "name": next(
                    (m.name for m in facts.members or () if status and m.id == status.member), ""
                ),
                "error": each.error,
                "status": _status(status) if status is not None else None,
                "clock": each.clock._asdict() if each.clock is not None else None,
                "hash": each.hash._asdict() if each.hash is not None else None,
            }
            for each in facts.observed
            for status in (each.status,)
        ],
        "findings": [
            {
                "code": each.code,
                "severity": each.severity.name.lower(),
                "certainty": str(each.certainty),
                "subject": each.subject,
                "text": each.text,
                "advice": list(each.advice),
            }
            for each in findings
        ],
        "passed": list(passed),
    }
