"""Functions of text.js, run by the browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.console.conftest import Open


@pytest.fixture
def run(open_console: Open) -> Any:
    """Evaluates an expression with the functions of text.js as `t`."""
    page: Page = open_console(0).open("sign-in")

    def evaluate(expression: str, argument: Any = None) -> Any:
        script = f"async (x) => {{ const t = await import('./text.js'); return {expression}; }}"
        return page.evaluate(script, argument)

    return evaluate


def test_bytes_text_and_numbers_are_shown_as_people_read_them(run: Any) -> None:
    # One page for all rows: a browser context costs more than they do.
    shown: dict[str, list[tuple[Any, Any]]] = {
        "t.printable(Uint8Array.from(x))": [
            ([0x61, 0x5C, 0x62], "a\\\\b"),
            ([0x00, 0xFF, 0xC3, 0xA9], "\\x00\\xffé"),
            (list("\u202e\ufeff\u2028".encode()), "\\xe2\\x80\\xae\\xef\\xbb\\xbf\\xe2\\x80\\xa8"),
            ([0xE2, 0x82], "\\xe2\\x82"),
        ],
        "[...t.prefixEnd(Uint8Array.from(x))]": [
            ([0x61], [0x62]),
            ([0x61, 0xFF], [0x62]),
            ([0xFF, 0xFF], [0]),
            ([], [0]),
        ],
        "t.toText(Uint8Array.from(x))": [
            ([0x61, 0x0A], "a\n"),
            ([0x61, 0x00], None),
            ([0xFF], None),
            ([0xEF, 0xBB, 0xBF, 0x61], "\ufeffa"),
        ],
        "t.formatSize(x)": [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            ("2147483648", "2.1 GB"),
            (8_500_000, "8.5 MB"),
        ],
        "t.formatInt(x)": [("9223372036854775807", "9,223,372,036,854,775,807")],
        "t.formatDuration(x)": [
            (0.012, "12 ms"),
            (1.5, "1.5 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (273_600, "3 d 4 h"),
            (-5, "-5 s"),
        ],
        "t.formatId(x)": [
            ("8410745199022555121", "74b8f8324c0fbff1"),
            ("-1", "ffffffffffffffff"),
        ],
        "t.parseId(x)": [("74b8f8324c0fbff1", "8410745199022555121")],
        "t.isKubernetes(Uint8Array.from(x))": [
            (list(b"k8s\x00\n"), True),
            (list(b'{"kind":"Pod","apiVersion":"v1"}'), True),
            (list(b'{"kind":"Pod"}'), False),
        ],
    }
    for expression, rows in shown.items():
        for argument, expected in rows:
            assert run(expression, argument) == expected, (expression, argument)


def test_a_key_that_was_printed_is_read_back(run: Any) -> None:
    keys = [
        b"plain",
        b"back\\slash",
        b"\\x41",
        bytes(range(256)),
        "日本\u200d".encode(),
        b"\xe2\x82",
    ]
    read = "[...t.fromPrintable(t.printable(Uint8Array.from(x)))]"
    assert [bytes(run(read, list(key))) for key in keys] == keys


def test_base64_of_long_values_is_read_and_written(run: Any) -> None:
    twice = "t.toBase64(t.fromBase64(t.toBase64(new Uint8Array(x).fill(7)))).length"
    assert run(twice, 1_000_001) == 1_333_336
