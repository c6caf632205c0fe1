"""Errors are instances that all share: one that is answered must remember nobody's request."""

from __future__ import annotations

import asyncio
import gc

from rusd.base.pending import Pending
from rusd.door.grpc.streaming import HIGH_BYTES
from rusd.rpc.errors import KEY_NOT_FOUND
from tests.unit.door.toys import REQUEST, served


def frames_of(error: BaseException) -> int:
    count, traceback = 0, error.__traceback__
    while traceback is not None:
        count, traceback = count + 1, traceback.tb_next
    return count


def test_a_refused_call_leaves_no_trace_in_its_error() -> None:
    async def run() -> None:
        async with served() as one:
            for _ in range(3):
                await one.refusal("toy.Toys/Refuse", REQUEST(value=b"x").SerializeToString())
            assert frames_of(KEY_NOT_FOUND) == 0
            one.toys.refusal = KEY_NOT_FOUND
            for _ in range(3):
                await one.talk().code()
            assert frames_of(KEY_NOT_FOUND) == 0
            assert KEY_NOT_FOUND.__context__ is None

    asyncio.run(run())


def test_an_answer_that_failed_does_not_pile_up_the_frames_of_those_who_awaited_it() -> None:
    async def run() -> None:
        for _ in range(10):
            pending: Pending[None] = Pending()
            pending.set_exception(KEY_NOT_FOUND)
            try:
                await pending
            except type(KEY_NOT_FOUND):
                pass
        assert frames_of(KEY_NOT_FOUND) < 5
        KEY_NOT_FOUND.answered()

    asyncio.run(run())


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
