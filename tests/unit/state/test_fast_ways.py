"""Single puts and deletions have a shorter way than txns: it must lead to the same bytes."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Generator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, encode
from rusd.state.errors import LeaseNotFound
from tests.unit.state.driver import Driver, delete_op, put_op

operation = st.tuples(
    st.sampled_from(["put", "put", "delete"]),
    st.sampled_from([b"a", b"b", b"c\0"]),
    st.sampled_from([b"", b"1", b"x" * 300]),
    st.sampled_from([0, 7, 8]),
)


def finish(slices: Generator[None, None, int]) -> int:
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: int = stop.value
            return result


@settings(max_examples=50, deadline=None)
@given(st.lists(operation, max_size=12), st.integers(1, 5))
def test_a_request_of_its_own_stores_what_a_txn_of_it_alone_stores(
    operations: list[tuple[str, bytes, bytes, int]], batch: int
) -> None:
    states = []
    for as_txns in (False, True):
        with tempfile.TemporaryDirectory() as directory:
            driver = Driver(Path(directory))
            driver.grant(7)
            driver.grant(8)
            payloads = []
            for kind, key, value, lease in operations:
                put = rpc.PutRequest(key=key, value=value, lease=lease, prev_kv=True)
                delete = rpc.DeleteRangeRequest(key=key, prev_kv=True)
                if as_txns:
                    op = (
                        put_op(key, value, lease=lease, prev_kv=True)
                        if kind == "put"
                        else delete_op(key, prev_kv=True)
                    )
                    one = encode(Kind.TXN, rpc.TxnRequest(success=[op]).SerializeToString())
                elif kind == "put":
                    one = encode(Kind.PUT, put.SerializeToString())
                else:
                    one = encode(Kind.DELETE_RANGE, delete.SerializeToString())
                payloads.append(one)
            revisions = []
            for start in range(0, len(payloads), batch):
                results = driver.apply_payloads(payloads[start : start + batch])
                revisions += [result.revision for result in results]  # type: ignore[attr-defined]
            machine = driver.machine
            attached = {lease.id: sorted(lease.keys) for lease in machine.leases}
            states.append((revisions, finish(machine.store.hash_slices()), driver.events, attached))
            machine.close()
    assert states[0] == states[1]


def test_a_refused_request_is_freed_with_its_error(driver: Driver) -> None:
    request = rpc.PutRequest(key=b"k", lease=404).SerializeToString()
    (first,) = driver.apply_payloads([encode(Kind.PUT, request)])
    (second,) = driver.apply_payloads([encode(Kind.PUT, request)])
    assert isinstance(first, LeaseNotFound)
    assert isinstance(second, LeaseNotFound)
    assert first is not second
    error = weakref.ref(first)
    gc.disable()
    try:
        del first
        assert error() is None, "by reference counts alone: no cycle is left to a collection"
    finally:
        gc.enable()
