"""Every package of rusd and cluster opens with a page that names all its files."""

import ast
import asyncio
import logging
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The distribution's own page is the README; the other package is generated.
WITHOUT_PAGE = (ROOT / "rusd", ROOT / "rusd" / "proto")
#: Their callbacks are described in Python's documentation.
LIBRARIES = (asyncio.Protocol, asyncio.BufferedProtocol, logging.Handler, logging.Formatter)
PACKAGES = sorted(
    path.parent
    for top in ("rusd", "cluster")
    for path in (ROOT / top).rglob("__init__.py")
    if path.parent not in WITHOUT_PAGE
)


def unnamed(package: Path) -> list[str]:
    """Modules and packages inside that the package's page does not mention."""
    page = (package / "__init__.py").read_text()
    inside = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    inside += [path.parent.name for path in package.glob("*/__init__.py")]
    return sorted(name for name in inside if not re.search(rf"\b{re.escape(name)}\b", page))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_page_of_a_package_names_all_its_files(package: Path) -> None:
    assert unnamed(package) == []


def test_a_file_that_is_not_named_is_found(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""Names `known.py` only."""')
    for name in ("known.py", "unknown.py"):
        (tmp_path / name).touch()
    assert unnamed(tmp_path) == ["unknown"]


def methods_of_ports(source: str) -> dict[str, bool]:
    """`Port.method` of every Protocol -> whether it has a docstring."""
    return {
        f"{port.name}.{method.name}": ast.get_docstring(method) is not None
        for port in ast.walk(ast.parse(source))
        if isinstance(port, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in port.bases)
        for method in port.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        and not method.name.startswith("_")
    }


def test_every_method_of_a_port_says_what_it_does() -> None:
    """Its implementations need not repeat it (pyproject.toml ignores D102)."""
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for top in ("rusd", "cluster")
        for path in sorted((ROOT / top).rglob("*.py"))
        for name, told in methods_of_ports(path.read_text()).items()
        if not told
    ]
    assert silent == []


def test_a_method_without_a_docstring_is_found() -> None:
    source = (
        'class Port(Protocol):\n    def one(self): ...\n    def two(self):\n        """Two."""\n'
    )
    assert methods_of_ports(source) == {"Port.one": False, "Port.two": True}


def public_methods(source: str) -> list[tuple[str, str, bool]]:
    """(class, method, whether it has a docstring) of all public methods of public classes."""
    return [
        (owner.name, method.name, ast.get_docstring(method) is not None)
        for owner in ast.walk(ast.parse(source))
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_")
        for method in owner.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        and not method.name.startswith("_")
    ]


def undescribed(sources: dict[str, str]) -> list[str]:
    """Public methods without a docstring whose name no other class, port or library describes."""
    methods = [
        (f"{name}: {owner}.{method}", method, told)
        for name, source in sources.items()
        for owner, method, told in public_methods(source)
    ]
    described = {method for _, method, told in methods if told}
    described |= {name for library in LIBRARIES for name in dir(library)}
    return sorted(where for where, method, _ in methods if method not in described)


def test_a_method_without_a_docstring_is_described_where_it_is_declared() -> None:
    """As pyproject.toml says of D102, which would have every implementation repeat its port."""
    paths = [path for top in ("rusd", "cluster") for path in sorted((ROOT / top).rglob("*.py"))]
    sources = {
        str(path.relative_to(ROOT)): path.read_text() for path in paths if "proto" not in path.parts
    }
    assert undescribed(sources) == []


def test_a_method_that_nothing_describes_is_found() -> None:
    port = 'class Port:\n    def one(self):\n        """One."""\n'
    implementation = "class Done:\n    def one(self): ...\n    def two(self): ...\n"
    assert undescribed({"a": port, "b": implementation}) == ["b: Done.two"]
