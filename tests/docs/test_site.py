"""The built site: it can be read without a network, and holds every document and every room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
PAGES = sorted(SITE.rglob("*.html"))
#: What a browser fetches by itself.
_FETCHED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]+)"
)


def test_the_site_is_there() -> None:
    assert PAGES, "built by make docs"


def test_nothing_is_fetched_from_another_host() -> None:
    fetched = {
        name or sheet for page in PAGES for name, sheet in _FETCHED.findall(page.read_text())
    }
    assert fetched
    assert [url for url in fetched if re.match(r"[a-z]+:|//", url)] == []


def test_no_script_asks_the_host_of_the_repository() -> None:
    """The theme's script does so on pages with this attribute."""
    asking = 'data-md-component="source"'
    assert [str(page) for page in PAGES if asking in page.read_text()] == []


def test_every_file_that_a_page_fetches_is_in_the_site() -> None:
    missing = [
        f"{page.relative_to(SITE)}: {url}"
        for page in PAGES
        if page.name != "404.html"
        for found in _FETCHED.findall(page.read_text())
        if (url := (found[0] or found[1]).partition("?")[0])
        and not (page.parent / url).resolve().is_file()
    ]
    assert missing == []


@pytest.mark.parametrize(
    "document", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name
)
def test_every_document_is_a_page(document: Path) -> None:
    name = document.relative_to(ROOT / "docs").with_suffix("").as_posix()
    page = SITE / "index.html" if name == "index" else SITE / name / "index.html"
    assert page.is_file()


def test_every_room_is_a_page() -> None:
    rooms = {path.parent.name for path in (ROOT / "rusd").glob("*/__init__.py")} - {"proto"}
    assert rooms <= {path.name for path in (SITE / "rooms").iterdir()}


def test_benchmarks_are_plotted() -> None:
    assert (SITE / "benchmarks" / "index.html").read_text().count('class="ratios"') > 5


def test_diagrams_are_drawn_by_a_script_of_the_site() -> None:
    page = SITE / "architecture" / "index.html"
    assert 'class="mermaid"' in page.read_text()
    assert (SITE / "site" / "mermaid.js").stat().st_size > 100_000


def test_diagrams_are_not_shrunk_to_the_width_of_a_phone() -> None:
    """They scroll sideways in their box instead (site.css)."""
    documents = [path.read_text() for path in (ROOT / "docs").rglob("*.md")]
    diagrams = [text for each in documents for text in each.split("```mermaid\n")[1:]]
    assert diagrams
    assert [each[:80] for each in diagrams if '"useMaxWidth": false' not in each] == []
