"""The documents name what exists: files, constants and their values, flags, fsyncs, targets."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FILE = re.compile(r"`([\w./-]+\.(?:py|md|sh|yaml|yml|toml|proto))`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
#: In limits.md: `file` followed by constants of it; a star ends a common prefix.
_CONSTANTS = re.compile(r"`([\w/]+\.py)`((?:,? `[A-Z_]+\*?`)+)")

#: Of tests/kubernetes: these have a table in chaos.md.
FAILURES = ("failures", "broken_links_and_disks", "snapshots")


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


def spellings(name: str, value: float) -> set[str]:
    """The ways to write a constant in limits.md; constants that end in _MS are given in seconds."""
    if name.endswith("_MS"):
        value /= 1000
    found = {f"{value:g}", f"{value:,}", f"{value * 1000:g} ms"}
    if value == int(value):
        whole = int(value)
        found |= {f"{whole:,}", f"{whole >> 10:,} KiB", f"{whole >> 20:,} MiB"} - {"0 KiB", "0 MiB"}
        found |= {f"2^{n}{rest}" for n in range(10, 64) for rest in _powers(whole, n)}
    return found


def _constant(module: ModuleType, name: str) -> float:
    """A constant of a module, or of a class in it."""
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    owner = next(each for each in (module, *classes) if hasattr(each, name))
    value: float = getattr(owner, name)
    return value


def _powers(value: int, n: int) -> list[str]:
    return [rest for rest, less in (("", 0), (" - 1", 1)) if value == (1 << n) - less]


def test_limits_md_states_the_value_of_every_constant_it_names() -> None:
    compared, wrong = 0, []
    for row in (ROOT / "docs" / "limits.md").read_text().splitlines():
        for file, constants in _CONSTANTS.findall(row):
            module = importlib.import_module("rusd." + file.removesuffix(".py").replace("/", "."))
            for name in re.findall(r"`([A-Z_]+)`", constants):
                value = _constant(module, name)
                compared += 1
                if not any(
                    re.search(rf"(?<![\w.,]){re.escape(text)}(?![\w^]|[.,]\d)", row)
                    for text in spellings(name, value)
                ):
                    wrong.append(f"{file} {name} = {value}: {row}")
    assert compared > 50
    assert not wrong


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("BYTES", 512 << 10, "512 KiB"),
        ("COUNT", 20_480, "20,480"),
        ("TURN", 0.006, "6 ms"),
        ("SILENCE_MS", 5000, "5"),
        ("TERM", 1 << 62, "2^62"),
        ("SEND", (1 << 31) - 1, "2^31 - 1"),
    ],
)
def test_a_value_is_found_in_the_form_of_limits_md(name: str, value: float, text: str) -> None:
    assert text in spellings(name, value)
    assert text not in spellings(name, value + 1000 * value)


def test_every_file_that_syncs_is_named_in_durability_md() -> None:
    syncs = re.compile(r"\b(os\.fsync|os\.fdatasync|durable\.sync\w*|flush_wal)\(")
    callers = [
        path.relative_to(ROOT / "rusd").as_posix()
        for path in (ROOT / "rusd").rglob("*.py")
        if syncs.search(path.read_text())
    ]
    assert len(callers) >= 4
    text = (ROOT / "docs" / "durability.md").read_text()
    assert [path for path in callers if f"`{path}`" not in text] == []


def test_every_file_that_is_replaced_durably_is_named_in_durability_md() -> None:
    text = (ROOT / "docs" / "durability.md").read_text()
    writers = {
        path.stem
        for path in (ROOT / "rusd").rglob("*.py")
        if re.search(r"\bdurable\.write\(", path.read_text())
    }
    # Its files: identity and joining; cert.pem and key.pem; life, past-lives, lives; CURRENT;
    # restoring.
    files = {"identity", "self_signed", "incarnations", "database_directory", "restored"}
    assert writers == files
    lives = ("life", "past-lives", "lives")
    for name in ("identity", "joining", "fixtures/cert.pem", *lives, "CURRENT", "restoring"):
        assert f"`{name}`" in text


def test_every_target_of_make_is_explained_to_contributors() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z0-9-]*):.*##", makefile, re.MULTILINE)
    assert len(targets) > 10
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [name for name in targets if not re.search(rf"make {name}(?![\w-])", text)] == []


def test_every_target_of_make_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_code = re.compile(r"(?:`|^(?: {4})?(?:\$ )?)make ([a-z][a-z0-9-]*)", re.MULTILINE)
    named = [
        (document.name, name)
        for document in DOCUMENTS
        for name in in_code.findall(document.read_text())
    ]
    assert len(named) > 20
    assert [each for each in named if each[1] not in targets] == []


def test_the_help_explains_every_flag_in_a_sentence() -> None:
    from rusd.config.config import FLAGS

    assert [flag.name for flag in FLAGS if not re.search(r"\w.* .*\.$", flag.help)] == []


def test_kubernetes_md_names_every_check_and_no_other() -> None:
    defined = re.compile(r"^def (test_\w+)", re.MULTILINE)
    files = (ROOT / "tests" / "kubernetes").glob("test_*.py")
    tests = {path.stem: set(defined.findall(path.read_text())) for path in files}
    on_kind = [path.read_text() for path in (ROOT / "tests" / "kind").glob("test_*.py")]
    tests["kind"] = set(defined.findall("\n".join(on_kind)))
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "kubernetes.md").read_text()))
    every = set().union(*tests.values())
    assert len(every) > 40
    assert named - every - tests.keys() == set()
    failures = set().union(*(tests[f"test_{name}"] for name in FAILURES))
    assert every - failures - named == set()


def test_chaos_md_names_every_failure_that_kubernetes_meets() -> None:
    """Each fault, and each test that is not made for several of them."""
    faults = re.compile(r"^def ([a-z]\w+)\(members: .* -> None:", re.MULTILINE)
    checks = re.compile(r"^def (test_\w+)\(\n((?: {4}.*\n)+)", re.MULTILINE)
    defined = set()
    for name in FAILURES:
        text = (ROOT / "tests" / "kubernetes" / f"test_{name}.py").read_text()
        defined |= set(faults.findall(text))
        defined |= {check for check, given in checks.findall(text) if "fault:" not in given}
    rows = re.compile(r"^\| `(\w+_\w+)` \|", re.MULTILINE)
    assert len(defined) > 10
    assert set(rows.findall((ROOT / "docs" / "chaos.md").read_text())) == defined
