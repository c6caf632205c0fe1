"""A background task that fails is noticed at once, and named."""

import ast
import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import rusd
from rusd.base.supervised import Tasks


def run(story: Callable[[Tasks, list[BaseException]], Awaitable[None]]) -> None:
    async def body() -> None:
        failures: list[BaseException] = []
        await story(Tasks(failures.append), failures)

    asyncio.run(body())


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("a fault")


def test_a_task_that_fails_calls_fail_and_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(tasks: Tasks, failures: list[BaseException]) -> None:
        task = tasks.start("dial peer 2", fails())
        await asyncio.wait({task})
        await asyncio.sleep(0)
        assert [str(error) for error in failures] == ["a fault"]
        assert not tasks

    with caplog.at_level(logging.ERROR):
        run(story)
    (record,) = caplog.records
    assert record.fields == {"task": "dial peer 2", "error": "ValueError('a fault')"}  # type: ignore[attr-defined]


def test_a_task_that_ends_or_is_cancelled_is_no_failure() -> None:
    async def story(tasks: Tasks, failures: list[BaseException]) -> None:
        ended = tasks.start("short", asyncio.sleep(0))
        tasks.start("long", asyncio.sleep(60))
        await asyncio.wait({ended})
        await tasks.stop()
        assert not tasks
        assert failures == []

    run(story)


def test_a_task_that_fails_while_it_is_stopped_counts() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("a fault")

    async def story(tasks: Tasks, failures: list[BaseException]) -> None:
        tasks.start("stubborn", stubborn())
        await asyncio.sleep(0)
        await tasks.stop()
        assert len(failures) == 1

    run(story)


#: Modules that make tasks without `Tasks`: their exceptions reach a caller or a client.
UNSUPERVISED = {
    "base/supervised.py": "supervises",
    "member/process.py": "runs the member",
    "raft/transport/dial_back.py": "awaits them",
    "base/pending.py": "the response of a call",
    "door/grpc/unary.py": "the response of a call",
    "api/concurrency_limit.py": "the response of a call",
    "api/stream_task.py": "ends the stream",
    "backup/own_process.py": "awaits it",
    "backup/snapshot_files.py": "the file of the calls that await it",
    "api/contenders.py": "awaits them under a shield",
    "api/lease.py": "ends the stream",
    "door/gateway/unary.py": "a call's error is the response",
    "door/http/whole.py": "a page's error is the response",
    "door/http/http2.py": "resets the stream",
    "door/gateway/streaming.py": "ends the stream",
}


def test_every_task_is_supervised_or_answers_a_request() -> None:
    root = Path(rusd.__file__).parent
    made = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future")
    }
    assert made == set(UNSUPERVISED)
