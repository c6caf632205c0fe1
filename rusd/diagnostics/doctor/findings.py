"""Findings: what is wrong, how bad, how sure, and what to do."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Severity(IntEnum):
    """How bad; the number is the exit code."""

    NOTICE = 0
    WARNING = 1
    CRITICAL = 2


class Certainty(StrEnum):
    """How sure."""

    #: Members or files said so.
    MEASURED = "measured"
    #: It follows from what members said, but could have another cause.
    INFERRED = "inferred"
    #: The question was refused or failed.
    UNKNOWN = "could not ask"


class Finding(NamedTuple):
    """One finding."""

    #: Stable name, for scripts.
    code: str
    severity: Severity
    certainty: Certainty
    #: The member, endpoint or file; "" for the cluster.
    subject: str
    text: str
    #: Command lines to try, and advice in words.
    advice: tuple[str, ...] = ()


def notice(
    code: str, subject: str, text: str, *advice: str, sure: Certainty = Certainty.MEASURED
) -> Finding:
    """Return a finding that needs no action now."""
    return Finding(code, Severity.NOTICE, sure, subject, text, advice)


def warning(
    code: str, subject: str, text: str, *advice: str, sure: Certainty = Certainty.MEASURED
) -> Finding:
    """Return a finding that needs action before it becomes a failure."""
    return Finding(code, Severity.WARNING, sure, subject, text, advice)


def critical(
    code: str, subject: str, text: str, *advice: str, sure: Certainty = Certainty.MEASURED
) -> Finding:
    """Return a finding that clients notice, or data is at risk by."""
    return Finding(code, Severity.CRITICAL, sure, subject, text, advice)


def unasked(code: str, subject: str, text: str, *advice: str) -> Finding:
    """Return a finding about a question that failed."""
    return Finding(code, Severity.NOTICE, Certainty.UNKNOWN, subject, text, advice)
