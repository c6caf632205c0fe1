"""A range in chunks: of one revision however long it takes, and never all in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rusd.api.kv import Limits
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from tests.unit.api.kv_bench import Bench, Stream
from tests.unit.state.driver import put_op

Scenario = Callable[[Bench], Awaitable[None]]
Run = Callable[[Scenario], None]

#: About the size of a chunk in these tests.
TARGET = 4000


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            limits = Limits(max_request_bytes=TARGET)
            bench = Bench(tmp_path / "state", limits=limits)
            try:
                await scenario(bench)
            finally:
                bench.machine.close()

        asyncio.run(main())

    return run


def whole(**options: int | bool) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=b"\0", range_end=b"\0", **options)  # type: ignore[arg-type]


def put(bench: Bench, *keys: bytes, size: int = 1) -> None:
    """Straight into the store, where no request is too large."""
    writer = bench.machine.store.begin()
    for key in keys:
        writer.put(key, b"%d " % (writer.revision + 1) + bytes(size), 0)
    writer.commit()


def compact(bench: Bench, revision: int) -> None:
    writer = bench.machine.store.begin()
    writer.compact(revision)
    writer.commit()
    for _ in bench.machine.store.compact_slices():
        pass


def names(count: int) -> list[bytes]:
    return [b"%05d" % n for n in range(count)]


async def stalled(bench: Bench, **options: int | bool) -> Stream:
    """A stream whose client took one chunk and nothing since."""
    stream = bench.open("RangeStream", whole(**options))
    stream.responses.full = True
    await stream.responses.until(1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stream.responses.messages) == 1
    return stream


async def rest(stream: Stream) -> list[rpc.RangeResponse]:
    """All chunks, once the client takes them."""
    stream.responses.full = False
    stream.handler.drained()
    await stream.responses.until_end()
    return [
        rpc.RangeStreamResponse.FromString(one).range_response for one in stream.responses.messages
    ]


def joined(chunks: list[rpc.RangeResponse]) -> rpc.RangeResponse:
    response = rpc.RangeResponse()
    for chunk in chunks:
        response.MergeFrom(chunk)
    return response


def test_writes_during_the_stream_are_not_in_it(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *names(300))
        expected = await bench.call("Range", whole())
        stream = await stalled(bench)
        put(bench, *names(400)[::3], b"00000x", b"zzz")
        await bench.call("DeleteRange", rpc.DeleteRangeRequest(key=b"00200", range_end=b"\0"))
        assert joined(await rest(stream)) == expected
        assert stream.responses.error is None

    run(scenario)


@pytest.mark.parametrize("options", [{"limit": 100}, {"keys_only": True}, {"limit": 300}])
def test_limit_count_and_keys_only_are_a_ranges(run: Run, options: dict[str, int]) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *names(300), size=100)
        expected = await bench.call("Range", whole(**options))
        stream = await stalled(bench, **options)
        put(bench, b"zzz")
        assert joined(await rest(stream)) == expected

    run(scenario)


BY = rpc.RangeRequest


@pytest.mark.parametrize("target", [BY.MOD, BY.CREATE, BY.VERSION, BY.VALUE])
@pytest.mark.parametrize("options", [{}, {"limit": 4}, {"limit": 10}, {"keys_only": True}])
def test_a_stream_of_one_chunk_is_sorted_as_a_range_is(
    run: Run, target: int, options: dict[str, int]
) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *reversed(names(9)), b"00004", b"00002", b"00004")
        request = whole(sort_target=target, **options)
        stream = bench.open("RangeStream", request)
        chunks = await rest(stream)
        assert len(chunks) == 1
        assert chunks[0] == await bench.call("Range", request)

    run(scenario)


@pytest.mark.parametrize("options", [{}, {"keys_only": True}])
def test_each_chunk_is_sorted_within_itself_and_no_key_is_lost_or_repeated(
    run: Run, options: dict[str, int]
) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *reversed(names(3000)))
        in_key_order = await rest(bench.open("RangeStream", whole(**options)))
        for target in (BY.MOD, BY.VALUE):
            chunks = await rest(bench.open("RangeStream", whole(sort_target=target, **options)))
            assert len(chunks) > 3
            for chunk in chunks:
                revisions = [kv.mod_revision for kv in chunk.kvs]
                # A value begins with its revision.
                assert revisions == sorted(revisions, key=str if target == BY.VALUE else None)
            everything, plain = joined(chunks), joined(in_key_order)
            assert everything.count == 3000
            assert {kv.key for kv in everything.kvs} == {kv.key for kv in plain.kvs}
            assert len(everything.kvs) == 3000

    run(scenario)


def test_a_compaction_that_passes_the_revision_ends_the_stream(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *names(300))
        stream = await stalled(bench)
        put(bench, *names(300))
        compact(bench, bench.machine.store.revision)
        await rest(stream)
        assert stream.responses.error == errors.COMPACTED()

    run(scenario)


def test_an_older_revision_is_streamed_as_it_was(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        put(bench, *names(300))
        past = bench.machine.store.revision
        put(bench, *names(200))
        expected = await bench.call("Range", whole(revision=past))
        stream = await stalled(bench, revision=past)
        compact(bench, past)
        assert joined(await rest(stream)) == expected

    run(scenario)


def test_large_values_behind_small_ones_do_not_make_a_huge_chunk(run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("Txn", rpc.TxnRequest(success=[put_op(key) for key in names(100)]))
        put(bench, *(b"large %d" % n for n in range(100)), size=TARGET)
        stream = bench.open("RangeStream", whole())
        await stream.responses.until_end()
        chunks = await rest(stream)
        assert joined(chunks).count == len(joined(chunks).kvs) == 200
        assert max(map(len, stream.responses.messages)) < 4 * TARGET

    run(scenario)


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 11])
@pytest.mark.parametrize("large", [0, 1, 2, 9, 10, 11, 12])
def test_one_large_value_anywhere_loses_nothing(run: Run, large: int, limit: int) -> None:
    async def scenario(bench: Bench) -> None:
        for n, key in enumerate(names(13)):
            put(bench, key, size=10 * TARGET if n == large else 1)
        expected = await bench.call("Range", whole(limit=limit))
        stream = bench.open("RangeStream", whole(limit=limit))
        await stream.responses.until_end()
        assert joined(await rest(stream)) == expected

    run(scenario)


def test_a_stalled_stream_has_not_read_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked for what is sent, not for everything at once."""

    async def scenario(bench: Bench) -> None:
        put(bench, *names(5000), size=TARGET // 10)
        rows = bench.machine.store.rows
        read = 0

        def counted(start: bytes, end: bytes | None, revision: int) -> object:
            found = rows(start, end, revision)
            original = found.read

            def reading(count: int) -> list[bytes]:
                nonlocal read
                part = original(count)
                read += len(part)
                return part

            found.read = reading  # type: ignore[method-assign]
            return found

        monkeypatch.setattr(bench.machine.store, "rows", counted)
        stream = await stalled(bench)
        assert read < 50
        assert len(joined(await rest(stream)).kvs) == 5000

    run(scenario)
