"""Rooms import downwards only, and no circle of files exists.

Every import counts: also those in functions and under TYPE_CHECKING, which load nothing but tie two
files together all the same.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: The rooms from low to high. A room imports itself and the rooms above its line; never one of its
#: own line or below.
ROOMS = (
    "base proto bbolt etcd_wal",
    "config wire storage",
    "mvcc raft auth",
    "state",
    "lease watch maintenance backup",
    "rpc",
    "api observe",
    "door",
    "console",
    "member",
    "utl",
    "ctl testing",
    "diagnostics",
    "cli",
)
#: Rooms that use less than the order allows.
ONLY = {
    "door": {"rpc", "base", "config"},
    "wire": {"base", "proto"},
    "storage": {"base"},
    "auth": {"base", "proto"},
    "bbolt": set(),
    "etcd_wal": set(),
    "raft": {"base"},
    "mvcc": {"base", "proto", "wire", "storage"},
}
#: The parts of raft from low to high; files of `raft/` itself by their names.
RAFT = (
    "errors ids ports statistics",
    "bodies commands config",
    "log transport",
    "read snapshots",
    "core",
    "apply force_new_cluster",
    "driver",
    "node",
    "interface",
)
#: What only one place may import, and which: prefixes of modules.
OWNERS = {
    "rocksdict": ("rusd.storage",),
    # The journal is an implementation of PySyncObj's journal interface.
    "pysyncobj": ("rusd.raft.core", "rusd.raft.log.journal"),
    "hpack": ("rusd.door.h2",),
    "prometheus_client": ("rusd.observe",),
    "grpc": ("rusd.utl.download",),
    "rich": ("rusd.diagnostics.top.screen",),
    "boto3": ("rusd.backup.scheduled.bucket",),
}
#: Modules that a room must not import.
FORBIDDEN = {
    "rusd": ("grpc_tools", "tests", "cluster"),
    "rusd.raft": ("google",),
    "rusd.storage": ("google",),
    "rusd.base": ("google",),
    "rusd.api": ("socket", "ssl", "http", "aiohttp", "asyncio.streams", "urllib"),
    "rusd.state": ("time", "random", "secrets", "socket", "asyncio", "datetime", "uuid"),
    "rusd.mvcc": ("time", "random", "secrets", "socket", "asyncio", "datetime", "uuid"),
    "rusd.watch": ("socket", "ssl"),
}

#: Module -> the modules it imports; `a.b.c` stands for `from a.b import c` of a name as well.
Imports = Mapping[str, set[str]]


def read(root: Path) -> dict[str, set[str]]:
    """The imports of every module in the package directory `root`."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        package = parts[:-1]
        module = ".".join(package if parts[-1] == "__init__" else parts)
        found[module] = set(imported(ast.parse(path.read_text()), package))
    return found


def imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    """Yield a file's imports, without those of its `__main__` block, which is another module."""
    body = [node for node in tree.body if not is_program(node)]
    for node in chain.from_iterable(map(ast.walk, body)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join((*package[: len(package) - node.level + 1], base)).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_program(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def files(imports: Imports) -> dict[str, set[str]]:
    """Module -> the modules of the same tree that it imports."""
    return {
        module: {known for name in names if (known := file_of(name, imports)) is not None}
        for module, names in imports.items()
    }


def file_of(name: str, imports: Imports) -> str | None:
    """The module that `name` is, or is defined in."""
    if name in imports:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in imports else None


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def ranks(order: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, line in enumerate(order) for name in line.split()}


def wrong_rooms(imports: Imports) -> list[str]:
    """Imports that point upwards or sideways among the rooms."""
    rank = ranks(ROOMS)
    wrong = []
    for module, targets in files(imports).items():
        room = room_of(module)
        for target in sorted(targets):
            other = room_of(target)
            if room == other or not other or not room:
                continue
            allowed = ONLY.get(room, {name for name in rank if rank[name] < rank[room]})
            if other not in allowed:
                wrong.append(f"{module} -> {target}")
    return wrong


def room_of(module: str) -> str:
    """The room of a module; "" for the package `rusd` itself, which holds the versions."""
    return module.split(".")[1] if "." in module else ""


def wrong_parts_of_raft(imports: Imports) -> list[str]:
    rank = ranks(RAFT)
    wrong = []
    for module, targets in files(imports).items():
        for target in sorted(targets):
            if not all(name.startswith("rusd.raft.") for name in (module, target)):
                continue
            part, other = module.split(".")[2], target.split(".")[2]
            if part != other and rank.get(other, -1) >= rank.get(part, -1):
                wrong.append(f"{module} -> {target}")
    return wrong


def strangers(imports: Imports) -> list[str]:
    """Imports of what belongs to another room, or to none."""
    wrong = []
    for module, names in imports.items():
        for name in sorted(names):
            owners = next((OWNERS[top] for top in OWNERS if within(name, top)), None)
            if owners is not None and not any(within(module, owner) for owner in owners):
                wrong.append(f"{module} -> {name}")
            for room, forbidden in FORBIDDEN.items():
                if within(module, room) and any(within(name, other) for other in forbidden):
                    wrong.append(f"{module} -> {name}")
    return wrong


def circles(imports: Imports) -> list[list[str]]:
    """Groups of files that import each other (Tarjan's strongly connected components)."""
    graph = {module: targets - {module} for module, targets in files(imports).items()}
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in number:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            start = stack.index(module)
            group = sorted(stack[start:])
            del stack[start:]
            if len(group) > 1:
                found.append(group)

    for module in graph:
        if module not in number:
            visit(module)
    return found


@pytest.fixture(scope="module")
def rusd() -> dict[str, set[str]]:
    return read(ROOT / "rusd")


def test_every_room_has_its_place_in_the_order(rusd: Imports) -> None:
    assert {room for module in rusd if (room := room_of(module))} == ranks(ROOMS).keys()
    parts = {module.split(".")[2] for module in rusd if module.startswith("rusd.raft.")}
    assert parts == ranks(RAFT).keys()


def test_rooms_import_downwards_only(rusd: Imports) -> None:
    assert wrong_rooms(rusd) == []


def test_the_parts_of_raft_import_downwards_only(rusd: Imports) -> None:
    assert wrong_parts_of_raft(rusd) == []


def test_libraries_are_imported_by_their_rooms_alone(rusd: Imports) -> None:
    assert strangers(rusd) == []


@pytest.mark.parametrize("package", ["rusd", "cluster"])
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    assert circles(read(ROOT / package)) == []


# The same checks, of a tree made to fail them.


def tree(directory: Path, **modules: str) -> dict[str, set[str]]:
    """The imports of a package `rusd` of these files; `mvcc__store` is mvcc/store.py."""
    for name, source in modules.items():
        path = directory / "rusd" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(directory).parents[:-1]:
            (directory / folder / "__init__.py").touch()
        path.write_text(source)
    return read(directory / "rusd")


def test_an_import_upwards_is_noticed_wherever_it_stands(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        rpc__errors="X = 1",
        mvcc__plain="from rusd.rpc.errors import X",
        mvcc__hidden="def f():\n    import rusd.rpc.errors",
        mvcc__typed="import typing\nif typing.TYPE_CHECKING:\n    from rusd.rpc import errors",
        mvcc__relative="from ..rpc import errors",
        api__kv="from rusd.rpc import errors\nfrom rusd.mvcc import plain",
    )
    assert wrong_rooms(found) == [
        f"rusd.mvcc.{name} -> rusd.rpc.errors" for name in ("hidden", "plain", "relative", "typed")
    ]


def test_an_import_of_a_sibling_room_is_noticed(tmp_path: Path) -> None:
    found = tree(tmp_path, lease__lessor="from rusd.watch import hub", watch__hub="")
    assert wrong_rooms(found) == ["rusd.lease.lessor -> rusd.watch.hub"]


def test_an_import_upwards_within_raft_is_noticed(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        raft__ports="from rusd.raft.core import messages",
        raft__core__messages="",
        raft__node="from rusd.raft import ports",
    )
    assert wrong_parts_of_raft(found) == ["rusd.raft.ports -> rusd.raft.core.messages"]


def test_a_library_in_another_room_is_noticed(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        mvcc__store="from rocksdict import Rdict",
        storage__engine="import rocksdict",
        raft__log__records="from google.protobuf.message import Message",
    )
    assert strangers(found) == [
        "rusd.mvcc.store -> rocksdict.Rdict",
        "rusd.raft.log.records -> google.protobuf.message.Message",
    ]


def test_a_circle_of_three_files_is_noticed(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        state__a="from rusd.state.b import y",
        state__b="def f():\n    from rusd.state import c",
        state__c="import rusd.state.a",
        state__d="from rusd.state import a",
    )
    assert circles(found) == [["rusd.state.a", "rusd.state.b", "rusd.state.c"]]


def test_a_member_starts_without_the_libraries_that_only_some_members_or_requests_need() -> None:
    """They take half of the time that a start takes; `aiohttp` loads once clients are served."""
    script = (
        "import sys\n"
        "import rusd.cli, rusd.config, rusd.member.process, rusd.member.member\n"
        "late = {'aiohttp', 'dns', 'jwt', 'prometheus_client', 'yaml'}\n"
        "print(*sorted(late & sys.modules.keys()))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT
    )
    assert found.stdout.split() == []
