"""Ranges whose answers are too long to be made, or sent, in one go."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rusd.base.chunks import Chunks
from rusd.proto import rpc_pb2 as rpc
from tests.unit.api.kv_bench import Bench
from tests.unit.api.test_kv import whole
from tests.unit.state.driver import put_op


def test_a_very_long_answer_stays_in_pieces(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path / "state")
        try:
            for start in range(0, 6_000, 100):
                puts = [put_op(b"%05d" % one, b"v" * 1000) for one in range(start, start + 100)]
                await bench.call("Txn", rpc.TxnRequest(success=puts))
            parts = await bench.start("Range", whole(serializable=True))  # type: ignore[misc]
            assert isinstance(parts, Chunks)
            response = rpc.RangeResponse.FromString(b"".join(parts))
            assert (response.count, len(response.kvs), response.more) == (6_000, 6_000, False)
            assert [one.key for one in response.kvs] == [b"%05d" % one for one in range(6_000)]
        finally:
            bench.machine.close()

    asyncio.run(scenario())
