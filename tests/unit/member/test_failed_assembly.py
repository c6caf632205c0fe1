"""A failed step of building a member closes everything that was opened before."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rusd.config import Config
from rusd.door.tls.peer import peer_tls
from rusd.member import assemble as assembly
from rusd.member import member as life
from rusd.member.data_directory import prepare
from rusd.member.member import Member
from rusd.raft import driver
from rusd.raft.log import segments
from rusd.state import database_directory, machine
from tests.support.member import running
from tests.unit.member.test_interrupted_start import config


class FaultError(Exception):
    """An error that no code here expects."""


class Fails:
    """Stands in for what is called, and fails."""

    def __init__(self) -> None:
        self.called = False

    def __call__(self, *arguments: object, **named: object) -> object:
        self.called = True
        raise FaultError


def full(root: Path) -> Config:
    """A member with every part that a flag asks for."""
    return replace(
        config(root),
        audit_log=str(root.parent / "audit"),
        auto_compaction_retention="1",
        metrics="extensive",
    )


def opened() -> tuple[list[str], set[str]]:
    """The open files and the threads of this process."""
    files = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the directory
            files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    names = {thread.name for thread in threading.enumerate()}
    return sorted(file for file in files if not file.startswith("/proc/")), names


def steps(module: Any) -> list[str]:
    """Return the names of a module's callables, its own and those imported from rusd."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and str(getattr(value, "__module__", "")).startswith("rusd.")
        and name != "assemble"
    ]


def test_a_step_that_fails_leaves_nothing_of_the_steps_before_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        flags = full(tmp_path / "data")
        prepare(flags)
        tls = peer_tls(flags)
        state = machine.StateMachine(flags.member_path / "state")
        identity = life.establish(flags, state, None)
        failed = set()
        before = opened()
        for name in steps(assembly):
            fails = Fails()
            with monkeypatch.context() as patched:
                patched.setattr(assembly, name, fails)
                try:
                    with ExitStack() as kept:
                        assembly.assemble(flags, state, identity, tls, pytest.fail, kept)
                except FaultError:
                    failed.add(name)
            assert opened() == before, name
        # Nearly all that is named there is called.
        assert failed > {
            "RaftNode",
            "PasswordWork",
            "LineFile",
            "Gateway",
            "GrpcDoor",
            "RoundTrips",
        }
        assert len(failed) > 50
        state.close()
        await started_and_stopped(flags)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (life, "establish"),
        (life, "assemble"),
        (machine, "Store"),
        (machine, "Commands"),
        (database_directory.durable, "write"),
        (driver, "reconcile"),
        (driver, "Peers"),
        (driver, "Core"),
        (driver, "IncomingSnapshot"),
        (segments.Segments, "_listed"),
        (segments.Segments, "create"),
    ],
)
def test_a_member_that_could_not_be_built_is_built_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    async def body() -> None:
        flags = full(tmp_path / "data")
        prepare(flags)
        before = opened()
        with monkeypatch.context() as patched:
            patched.setattr(module, name, Fails())
            with pytest.raises(FaultError):
                await Member(flags).start()
        assert opened() == before
        await started_and_stopped(flags)

    asyncio.run(body())


async def started_and_stopped(flags: Config) -> None:
    before = opened()[0]
    async with running(flags):
        pass
    assert opened()[0] == before
