"""Passwords are compared in threads, in turn by address, and never without bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from rusd.api import password_work
from rusd.api.password_work import MAX_QUEUE, MAX_WAITING, THREADS, PasswordWork
from rusd.auth import passwords
from rusd.rpc.errors import EtcdError

HASH = passwords.hash_password("right", 4)


class Stage:
    """A `PasswordWork` whose comparisons wait for `release`; `order` has the passwords compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []
        self.release = threading.Event()

        def compare(password: str, hashed: bytes) -> bool:
            self.release.wait(30)
            self.order.append(password)
            return False

        monkeypatch.setattr(password_work.passwords, "check_password", compare)
        monkeypatch.setattr(password_work, "THREADS", 1)
        self.work = PasswordWork(4)

    def check(self, password: str, address: str) -> asyncio.Task[bool]:
        checked = self.work.check(password, HASH, address, lambda: None)
        return asyncio.get_running_loop().create_task(checked)


def run(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        stage = Stage(monkeypatch)
        try:
            await scenario(stage)
        finally:
            stage.release.set()
            stage.work.close()

    asyncio.run(main())


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_flood_from_one_address_delays_another_by_one_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(stage: Stage) -> None:
        flood = [stage.check(f"guess {number}", "evil") for number in range(100)]
        await turns()
        honest = stage.check("honest", "good")
        await turns()
        stage.release.set()
        await asyncio.gather(honest, *flood)
        assert stage.order.index("honest") <= 2

    run(monkeypatch, scenario)


def test_the_calls_of_one_address_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stage: Stage) -> None:
        flood = [stage.check("guess", "evil") for _ in range(MAX_QUEUE + 50)]
        await turns()
        refused = [one for one in flood if one.done()]
        assert len(refused) == 49
        assert all(isinstance(one.exception(), EtcdError) for one in refused)
        honest = stage.check("honest", "good")
        stage.release.set()
        assert await honest is False
        await asyncio.gather(*flood, return_exceptions=True)

    run(monkeypatch, scenario)


def test_when_all_queues_are_full_the_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(stage: Stage) -> None:
        addresses = [f"evil {number}" for number in range(MAX_WAITING // MAX_QUEUE + 1)]
        flood = [stage.check("guess", one) for one in addresses for _ in range(MAX_QUEUE)]
        await turns()
        honest = stage.check("honest", "good")
        await turns()
        assert not honest.done()
        stage.release.set()
        assert await honest is False
        await asyncio.gather(*flood, return_exceptions=True)

    run(monkeypatch, scenario)


def test_calls_that_waited_are_refused_when_others_failed_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(stage: Stage) -> None:
        def refuse() -> None:
            raise PermissionError

        first = stage.check("first", "evil")
        await turns()
        second = asyncio.create_task(stage.work.check("second", HASH, "evil", refuse))
        third = stage.check("third", "evil")
        await turns()
        stage.release.set()
        results = await asyncio.gather(first, second, third, return_exceptions=True)
        assert results[0] is False and results[2] is False
        assert isinstance(results[1], PermissionError)
        assert stage.order == ["first", "third"]

    run(monkeypatch, scenario)


def test_calls_that_end_while_they_wait_leave_no_thread_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(stage: Stage) -> None:
        first = stage.check("first", "evil")
        gone = [stage.check("gone", "evil") for _ in range(20)]
        await turns()
        for one in (*gone, first):
            one.cancel()
        await asyncio.gather(first, *gone, return_exceptions=True)
        stage.release.set()
        assert await stage.check("last", "good") is False
        assert "gone" not in stage.order

    run(monkeypatch, scenario)


def test_a_password_is_compared_and_an_unknown_user_takes_as_long() -> None:
    async def main() -> None:
        work = PasswordWork(4)
        checks = [
            await work.check("right", HASH, "", lambda: None),
            await work.check("wrong", HASH, "", lambda: None),
            await work.check("", None, "", lambda: None),
        ]
        work.close()
        assert checks == [True, False, False] and THREADS > 0

    asyncio.run(main())
