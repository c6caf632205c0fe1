"""Pages that are made of the tree when the site is built, and plots of tables of ratios.

    README.md's neighbours ──────────┐
    docstrings of rusd's packages ───┼──▶ pages (`on_files`)
    docs/decisions/ ─────────────────┘
    tables with a column `ratio` ───────▶ a plot before each (`on_page_markdown`)
    ```mermaid blocks ──────────────────▶ drawn by a script of the site (`on_post_page`)

Called by mkdocs (mkdocs.yml). Imports nothing of rusd: docstrings are read from the syntax tree.
"""

from __future__ import annotations

import ast
import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

TOP = Path(__file__).parents[2]
#: Files of the top level that are pages, by their names in the site.
TOP_FILES = {
    "contributing.md": "CONTRIBUTING.md",
    "vulnerabilities.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
_TABLE = re.compile(r"^\|[^\n]*\bratio\b[^\n]*\n\|[-:| ]+\n(?:\|[^\n]*\n?)+", re.M)
#: Bars end here: a ratio beyond is written, not drawn.
WIDEST = 4.0


def on_config(config: Any) -> Any:
    """Add the rooms and the decisions to the last tab of the navigation."""
    inside = config.nav[-1]["Inside"]
    inside.append({"Rooms": [f"rooms/{room.name}.md" for room in rooms()]})
    inside.append({"Decisions": [f"decisions/{path.name}" for path in decisions()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of the folder holds."""
    for name, source in TOP_FILES.items():
        add(files, config, name, (TOP / source).read_text())
    for room in rooms():
        add(files, config, f"rooms/{room.name}.md", page_of(room))
    drawing = os.environ.get("MERMAID")
    if drawing:
        add(files, config, "site/mermaid.js", Path(drawing).read_text())
    return files


def add(files: Files, config: Any, name: str, text: str) -> None:
    """Add a page that is not a file."""
    files.append(File.generated(config, name, content=text, inclusion=InclusionLevel.INCLUDED))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to the pages of the site, and plot the tables of ratios."""
    here = page.file.src_uri
    markdown = _LINK.sub(lambda found: "](" + target(found[1], here, config), markdown)
    if here == "benchmarks.md":
        markdown = _TABLE.sub(lambda found: plot(found[0]) + found[0], markdown)
    return markdown


def target(link: str, here: str, config: Any) -> str:
    """Return where a link leads in the site: to a page, or to the file in the repository."""
    source = TOP / TOP_FILES[here] if here in TOP_FILES else TOP / "docs" / here
    if here.startswith("rooms/"):
        return link
    path = os.path.relpath((source.parent / link).resolve(), TOP)
    pages = {name: page for page, name in TOP_FILES.items()}
    if path in pages:
        inside = pages[path]
    elif path.startswith("docs/") and (TOP / path).is_file():
        inside = path.removeprefix("docs/")
    else:
        return f"{config.repo_url}/blob/main/{path}"
    return os.path.relpath(inside, os.path.dirname(here) or ".")


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Bring the script that draws diagrams to the pages that have one."""
    output = offline(output)
    if 'class="mermaid"' not in output:
        return output
    up = "../" * page.url.count("/")
    return output.replace("</head>", f'<script src="{up}site/mermaid.js"></script></head>')


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """Change the pages that belong to no document, such as 404.html."""
    return offline(output)


def offline(page: str) -> str:
    """Return a page on which the theme's script does not ask the repository's host for releases."""
    return page.replace(' data-md-component="source"', "")


# --- rooms ----------------------------------------------------------------------------------------


def rooms() -> list[Path]:
    """The packages of rusd that have rooms' docstrings, in the order of their names."""
    return [path.parent for path in sorted((TOP / "rusd").glob("*/__init__.py")) if docstring(path)]


def decisions() -> list[Path]:
    """Return the documents of decisions, in their order."""
    return sorted((TOP / "docs" / "decisions").glob("*.md"))


def docstring(path: Path) -> str:
    """Return a file's docstring, or ''."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def page_of(room: Path) -> str:
    """What a room's docstrings say: of the package, its files, and its sub-packages."""
    return "\n\n".join([f"# {room.name}", *sections(room, depth=1)])


def sections(package: Path, depth: int) -> Iterator[str]:
    """Yield the text of a package: its own, of its files, and of its sub-packages."""
    yield docstring(package / "__init__.py")
    files = [path for path in sorted(package.glob("*.py")) if path.name[0] != "_"]
    if files:
        yield f"{'#' * (depth + 1)} Files of `{package.relative_to(TOP).as_posix()}`"
    for path in files:
        yield f"{'#' * (depth + 2)} `{path.name}`\n\n{docstring(path)}"
    for path in sorted(package.glob("*/__init__.py")):
        yield f"{'#' * (depth + 1)} `{path.parent.relative_to(TOP).as_posix()}`"
        yield from sections(path.parent, depth + 1)


# --- plots ----------------------------------------------------------------------------------------


def plot(table: str) -> str:
    """Return a bar for each row's ratio, with a line at 1; the table itself says it in numbers."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()
    ]
    column = next(index for index, name in enumerate(head) if "ratio" in name)
    bars = "".join(bar(row[0], row[column]) for row in rows if ratio(row[column]) is not None)
    return f'<div class="ratios" aria-hidden="true">\n{bars}</div>\n\n' if bars else ""


def bar(name: str, cell: str) -> str:
    """Return the bar of one row."""
    value = ratio(cell)
    assert value is not None
    kind = "ahead" if value >= 1 else "behind"
    width = min(value, WIDEST) / WIDEST * 100
    return (
        f'<div><span>{html.escape(name)}</span><span class="track"><i class="{kind}" '
        f'style="width: {width:.1f}%"></i></span><b>{value:g}</b></div>\n'
    )


def ratio(cell: str) -> float | None:
    """Return a cell as a number; None if it is none."""
    try:
        return float(cell.strip("* "))
    except ValueError:
        return None
