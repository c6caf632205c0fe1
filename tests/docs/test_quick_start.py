"""The commands of docs/index.md, run as they stand."""

from __future__ import annotations

from pathlib import Path

from tests.support import document


def test_the_first_five_minutes_are_as_the_document_says(tmp_path: Path) -> None:
    printed = document.run(
        document.DOCS / "index.md", ("ONE",), tmp_path, document.with_commands(), 60
    )
    assert printed.count("\nhello\n") == 2
    assert '"value":"aGVsbG8="' in printed
