"""The series of a member, where the system refuses to tell a number."""

from __future__ import annotations

import math

import pytest

from rusd.console import readings
from rusd.console.series import State


@pytest.mark.parametrize("path", ["/nonexistent/statm", "/"])
def test_a_size_that_cannot_be_read_is_not_measured_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert readings._resident() > 1 << 20
    monkeypatch.setattr(readings, "_STATM", path)
    (value,) = State("rss_bytes", readings._resident).read(2.0)
    assert math.isnan(value)
