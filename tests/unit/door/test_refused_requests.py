"""A refused call leaves nothing behind once it is answered."""

from __future__ import annotations

import asyncio
import gc

from rusd.base.errors import Refusal
from rusd.base.pending import Pending
from rusd.door.grpc.streaming import HIGH_BYTES
from rusd.rpc.errors import KEY_NOT_FOUND
from tests.unit.door.toys import REQUEST, served


def frames_of(error: BaseException) -> int:
    count, traceback = 0, error.__traceback__
    while traceback is not None:
        count, traceback = count + 1, traceback.tb_next
    return count


def test_each_call_of_a_definition_makes_an_exception_of_its_own() -> None:
    tracebacks = set()
    for _ in range(3):
        try:
            raise KEY_NOT_FOUND()
        except Refusal as error:
            tracebacks.add(frames_of(error))
    assert tracebacks == {1}
    assert KEY_NOT_FOUND() == KEY_NOT_FOUND()
    assert KEY_NOT_FOUND() is not KEY_NOT_FOUND()


def test_the_traceback_of_an_awaited_answer_does_not_grow_with_the_answers_before_it() -> None:
    async def run() -> list[int]:
        found = []
        for _ in range(10):
            pending: Pending[None] = Pending()
            pending.set_exception(KEY_NOT_FOUND())
            try:
                await pending
            except Refusal as error:
                found.append(frames_of(error))
        return found

    assert len(set(asyncio.run(run()))) == 1


def test_requests_that_were_refused_are_freed() -> None:
    async def run() -> None:
        async with served() as one:
            value = b"y" * (HIGH_BYTES // 64)
            for _ in range(20):
                await one.refusal("toy.Toys/Refuse", REQUEST(value=value).SerializeToString())
        gc.collect()
        kept = [thing for thing in gc.get_objects() if isinstance(thing, REQUEST)]
        assert [one for one in kept if one.value == value] == []

    asyncio.run(run())


def test_a_stream_that_was_refused_is_answered_with_the_status_of_the_refusal() -> None:
    async def run() -> None:
        async with served() as one:
            one.toys.refusal = KEY_NOT_FOUND()
            for _ in range(3):
                stream = one.talk()
                assert await stream.details() == KEY_NOT_FOUND.message

    asyncio.run(run())
