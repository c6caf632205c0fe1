"""Every package of rusd and cluster opens with a page that names all its files."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The distribution's own page is the README; the other package is generated.
WITHOUT_PAGE = (ROOT / "rusd", ROOT / "rusd" / "proto")
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
