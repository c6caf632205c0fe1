"""Reads whose member learns during the read index that users or permissions changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rusd.auth.records import Access, Permission, Session, User
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from rusd.rpc.errors import EtcdError
from tests.unit.api.kv_bench import Bench
from tests.unit.auth.recording import Recorded

RANGE = rpc.RangeRequest(key=b"k")
TXN = rpc.TxnRequest(success=[rpc.RequestOp(request_range=RANGE)])


class Behind:
    """A member with users root and u, whose role r permits nothing yet."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.auth, self.records = bench, bench.machine.auth, Recorded()
        self.auth.add_user(self.records, User("root", b"", ("root",)))
        self.auth.add_user(self.records, User("u"))
        self.auth.add_role(self.records, "r")
        self.auth.grant_role(self.records, "u", "r")
        session = Session("u", "u".ljust(16, "x"), 0)
        bench.tokens.assign(session)
        self.token = session.token

    def enable(self) -> None:
        self.auth.enable(self.records)

    def disable(self) -> None:
        self.auth.disable(self.records)

    def grant(self) -> None:
        self.auth.grant_permission(self.records, "r", Permission(Access.READ, b"k"))

    def revoke(self) -> None:
        self.auth.revoke_permission(self.records, "r", b"k", b"")


#: Before the call, during its read index, with a token, and what etcd answers.
CASES: list[tuple[str, str, bool, Callable[[], EtcdError] | None]] = [
    ("enable", "grant", True, None),
    ("enable", "disable", False, None),
    ("", "enable grant", True, None),
    ("enable grant", "revoke", True, errors.PERMISSION_DENIED),
    ("", "enable", True, errors.PERMISSION_DENIED),
    ("", "enable", False, errors.USER_EMPTY),
    ("enable", "disable enable", False, errors.USER_EMPTY),
    ("enable", "grant", False, errors.USER_EMPTY),
]


@pytest.mark.parametrize("request_", [RANGE, TXN, None], ids=["Range", "Txn", "RangeStream"])
@pytest.mark.parametrize(("before", "during", "token", "error"), CASES)
def test_a_linearizable_read_is_decided_by_the_users_and_roles_behind_its_read_index(
    before: str,
    during: str,
    token: bool,
    error: Callable[[], EtcdError] | None,
    request_: Any,
    tmp_path: Path,
) -> None:
    async def outcome(bench: Bench, metadata: dict[str, str]) -> EtcdError | None:
        if request_ is None:
            stream = bench.open("RangeStream", RANGE, **metadata)
            await stream.responses.until_end()
            return stream.responses.error
        return await bench.refusal("Range" if request_ is RANGE else "Txn", request_, **metadata)

    async def scenario() -> None:
        bench = Bench(tmp_path / "state")
        try:
            behind = Behind(bench)
            for change in before.split():
                getattr(behind, change)()
            bench.log.barrier = asyncio.get_running_loop().create_future()
            metadata = {"token": behind.token} if token else {}
            answer = asyncio.ensure_future(outcome(bench, metadata))
            await asyncio.sleep(0)
            for change in during.split():
                getattr(behind, change)()
            bench.log.barrier.set_result(None)
            expected = None if error is None else error()
            async with asyncio.timeout(10):
                assert await answer == expected
        finally:
            bench.machine.close()

    asyncio.run(scenario())
