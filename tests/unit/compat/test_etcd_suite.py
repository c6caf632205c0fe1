"""The harness of etcd's suites: limits, leaves, expectations, and the page."""

from __future__ import annotations

import json

import pytest

from tests.compat.etcd_suite.build import SCALE, scaled
from tests.compat.etcd_suite.expected import Expected, Group
from tests.compat.etcd_suite.outcome import leaves
from tests.compat.etcd_suite.page import section

KNOWN = Expected((Group("no TLS yet", "fail", ("*/PeerTLS*", "TestA/Keys=[k]/*")),))


def events(*pairs: tuple[str, str]) -> list[str]:
    return [json.dumps({"Action": action, "Test": name}) for action, name in pairs]


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        (
            "WithTimeout(t.Context(), 10*time.Second)",
            f"WithTimeout(t.Context(), 10*{SCALE}*time.Second)",
        ),
        ("<-time.After(40 * time.Second):", f"<-time.After(40 * {SCALE}*time.Second):"),
        (
            "}, 3*time.Second, 100*time.Millisecond)",
            f"}}, 3*{SCALE}*time.Second, 100*time.Millisecond)",
        ),
        ("<-time.After(timeout):", f"<-time.After({SCALE}*timeout):"),
        ("<-time.After(2 * time.Second):", "<-time.After(2 * time.Second):"),
        ("time.Sleep(20 * time.Second)", "time.Sleep(20 * time.Second)"),
    ],
)
def test_limits_are_multiplied_and_pauses_are_not(source: str, changed: str) -> None:
    assert scaled(source) == changed


def test_only_innermost_sub_tests_count() -> None:
    run = events(("run", "TestA"), ("run", "TestA/x"), ("pass", "TestA/x"), ("pass", "TestA"))
    assert leaves("TestA", run) == {"TestA/x": "pass"}


def test_a_function_that_fails_beside_its_sub_tests_counts_too() -> None:
    run = events(("run", "TestA"), ("run", "TestA/x"), ("pass", "TestA/x"), ("fail", "TestA"))
    assert leaves("TestA", run) == {"TestA": "fail", "TestA/x": "pass"}


def test_what_began_and_did_not_end_has_failed() -> None:
    assert leaves("TestA", events(("run", "TestA"), ("run", "TestA/x"))) == {"TestA/x": "fail"}
    assert leaves("TestA", ["panic: no events at all"]) == {"TestA": "fail"}


def test_results_of_functions_with_a_longer_name_do_not_count() -> None:
    assert leaves("TestA", events(("run", "TestAB"), ("pass", "TestAB"))) == {"TestA": "fail"}


@pytest.mark.parametrize(
    ("leaf", "result", "unexpected"),
    [
        ("TestA/NoTLS", "pass", False),
        ("TestA/NoTLS", "fail", True),
        ("TestA/NoTLS", "skip", True),
        ("TestA/PeerTLS_and_ClientTLS", "fail", False),
        ("TestA/PeerTLS_and_ClientTLS", "pass", True),
        ("TestA/Keys=[k]/NoTLS", "fail", False),
    ],
)
def test_a_result_is_unexpected_in_either_direction(
    leaf: str, result: str, unexpected: bool
) -> None:
    assert bool(KNOWN.differences({leaf: result})) is unexpected


def test_a_pattern_without_leaves_is_named() -> None:
    assert KNOWN.unused(["TestB/PeerTLS_x"]) == ["TestA/Keys=[k]/*"]


def test_the_page_counts_leaves_of_each_configuration_and_gives_reasons() -> None:
    results = {
        "TestA/NoTLS/x": "pass",
        "TestA/NoTLS/y": "pass",
        "TestA/PeerTLS_and_ClientTLS": "fail",
    }
    text = section("common of v3.7.3", results, KNOWN)
    assert text.startswith("## common of v3.7.3\n")
    assert "2 of 3 leaves pass, in 1 functions." in text
    assert "| TestA | 2 | 0/1 | 1 |" in text
    assert "1. no TLS yet (fail)" in text
