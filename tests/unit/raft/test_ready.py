"""Guarantees of `Ready` by its types; the core does no I/O."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import rusd.raft.core
import rusd.raft.read
from rusd.raft.core.ready import SendAfterFlush, SendNow
from rusd.raft.transport.frames import AppendReply, RequestVote, VoteGranted

FILES = [
    path
    for package in (rusd.raft.core, rusd.raft.read)
    for path in sorted(Path(str(package.__file__)).parent.glob("*.py"))
]
#: Modules that wait, read, write or tell the time.
FORBIDDEN = {
    "asyncio",
    "concurrent",
    "fcntl",
    "io",
    "os",
    "pathlib",
    "secrets",
    "selectors",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uvloop",
}


def test_no_message_may_leave_both_at_once_and_after_the_flush() -> None:
    assert not set(get_args(SendNow)) & set(get_args(SendAfterFlush))


def test_acknowledgements_and_votes_wait_for_the_flush() -> None:
    assert {AppendReply, RequestVote, VoteGranted} <= set(get_args(SendAfterFlush))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_core_imports_nothing_that_does_io(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert not {name.split(".")[0] for name in imported} & FORBIDDEN
    # (The types of frames and the log's interface are no I/O.)
    rooms = {name for name in imported if name.startswith("rusd.raft.")}
    assert not any(name.startswith(("rusd.raft.log", "rusd.raft.snapshots")) for name in rooms)
    transport = {name for name in rooms if name.startswith("rusd.raft.transport")}
    assert transport <= {"rusd.raft.transport.frames"}
