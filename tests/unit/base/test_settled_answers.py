"""Awaiting an answer that is there already."""

import asyncio

from rusd.base.errors import Refusal
from rusd.base.pending import Pending


def test_a_loop_around_refusals_given_at_once_lets_other_work_run() -> None:
    async def ask_again_and_again() -> None:
        while True:
            refused: Pending[None] = Pending()
            refused.set_exception(Refusal())
            try:
                await refused
            except Refusal:
                continue

    async def main() -> None:
        asking = asyncio.get_running_loop().create_task(ask_again_and_again())
        for _ in range(10):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()

    asyncio.run(main())
