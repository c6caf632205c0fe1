"""The commands of docs/operating.md, run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import document


@pytest.mark.timeout(400)
def test_a_cluster_is_operated_as_the_document_says(tmp_path: Path) -> None:
    printed = document.run(
        document.DOCS / "operating.md",
        ("ONE", "TWO", "THREE"),
        tmp_path,
        document.with_commands(),
        300,
    )
    # After the upgrade, from the member that is left, and from the backup.
    assert printed.count("\ntea\n") == 3
    # From the member that was replaced.
    assert printed.count("\ncoffee\n") == 1
