"""The documents speak of what is there: files, and the constants that limits.md names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FILE = re.compile(r"`([\w./-]+\.(?:py|md|sh|yaml|yml|toml|proto))`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
#: In limits.md: `file` followed by constants of it; a star ends a common prefix.
_CONSTANTS = re.compile(r"`([\w/]+\.py)`((?:,? `[A-Z_]+\*?`)+)")


def tree() -> list[str]:
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    return found or [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.*")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    files = tree()
    text = document.read_text()
    missing = [
        name
        for name in _FILE.findall(text)
        if not any(path == name or path.endswith("/" + name) for path in files)
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_tree_leads_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_bound_that_limits_md_names_is_a_constant_of_its_file() -> None:
    named = _CONSTANTS.findall((ROOT / "docs" / "limits.md").read_text())
    assert len(named) > 50
    missing = []
    for file, constants in named:
        path = ROOT / "rusd" / file
        source = path.read_text() if path.exists() else ""
        for name, star in re.findall(r"`([A-Z_]+)(\*?)`", constants):
            end = "" if star else r"\b"
            if not re.search(rf"\b{name}{end}", source):
                missing.append(f"{file}: {name}")
    assert not missing


def test_every_flag_that_limits_md_names_is_one_of_rusds() -> None:
    from rusd.config.config import FLAGS

    flags = {flag.name for flag in FLAGS}
    named = set(re.findall(r"`--([a-z-]+)`", (ROOT / "docs" / "limits.md").read_text()))
    assert named <= flags
