"""Every test that needs a newer etcd than the test packages bring is selected for one."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
#: Skips a test where it stands. (`newer_oracle` selects it as well.)
SKIPS = re.compile(r"\b(?:require_newer_oracle|oracle_version)\b")


def test_only_the_differential_suites_skip_what_an_older_etcd_decides_otherwise() -> None:
    found = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if SKIPS.search(path.read_text()) and not path.name.startswith("test_differential_")
    }
    helpers = {"support/pair.py", "support/auth_pair.py", "bench/report.py"}
    assert found == {*helpers, str(Path(__file__).relative_to(TESTS))}


def test_the_pair_with_users_is_used_by_the_differential_suites_only() -> None:
    """`auth_pair` skips."""
    fixture = re.compile(r"\bauth_pair\b(?! import)")
    named = [path for path in TESTS.rglob("test_*.py") if fixture.search(path.read_text())]
    found = [path for path in named if path != Path(__file__)]
    assert found
    assert all(path.name.startswith("test_differential_") for path in found)
