"""Contenders: what a call that is cancelled at any time takes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from rusd.api.contenders import CallLease, Contender, prefix_range
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import LEASE_NOT_FOUND


class Client:
    """Inner calls that end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.work: list[asyncio.Task[None]] = []
        #: Calls made with the identity that the caller had.
        self.afterwards: Client | None = None

    async def txn(self, request: rpc.TxnRequest) -> Any:
        self.calls.append(("txn", request))
        return await self.answer

    async def grant(self, request: rpc.LeaseGrantRequest) -> Any:
        self.calls.append(("grant", request))
        return await self.answer

    async def revoke(self, request: rpc.LeaseRevokeRequest) -> None:
        self.calls.append(("revoke", request))

    def after_failure(self) -> Client:
        if self.afterwards is None:
            self.afterwards = Client()
            self.afterwards.answer.set_result(rpc.TxnResponse())
        return self.afterwards

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(asyncio.ensure_future(work))

    async def taken_back(self) -> list[tuple[str, Any]]:
        await asyncio.gather(*self.work)
        return [] if self.afterwards is None else self.afterwards.calls


def entered(*, succeeded: bool) -> rpc.TxnResponse:
    return rpc.TxnResponse(header=rpc.ResponseHeader(revision=7), succeeded=succeeded)


def run(scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Client())

    asyncio.run(main())


async def cancelled(call: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_prefix_of_a_name_ends_before_the_names_that_only_begin_with_it() -> None:
    key, range_end = prefix_range(b"a")
    assert key <= b"a/1b5a" < range_end
    assert not key <= b"ab/1" < range_end and not key <= b"a0" < range_end


def test_a_contender_cancelled_while_it_enters_deletes_its_key_once_it_exists() -> None:
    async def scenario(client: Client) -> None:
        contender = Contender(client, b"a", 0x1F)  # type: ignore[arg-type]
        await cancelled(contender.enter(b""))
        contender.withdraw()
        client.answer.set_result(entered(succeeded=True))
        ((_, request),) = await client.taken_back()
        (compare,) = request.compare
        assert (compare.key, compare.create_revision) == (b"a/1f", 7)
        assert request.success[0].request_delete_range.key == b"a/1f"

    run(scenario)


@pytest.mark.parametrize("outcome", [entered(succeeded=False), LEASE_NOT_FOUND()])
def test_a_contender_cancelled_while_it_enters_leaves_a_key_that_it_did_not_create(
    outcome: Any,
) -> None:
    async def scenario(client: Client) -> None:
        contender = Contender(client, b"a", 0x1F)  # type: ignore[arg-type]
        await cancelled(contender.enter(b""))
        contender.withdraw()
        if isinstance(outcome, Exception):
            client.answer.set_exception(outcome)
        else:
            client.answer.set_result(outcome)
        assert await client.taken_back() == []

    run(scenario)


def test_a_call_cancelled_while_its_lease_is_granted_revokes_it() -> None:
    async def scenario(client: Client) -> None:
        lease = CallLease(client, 0)  # type: ignore[arg-type]
        await cancelled(lease.__aenter__())
        client.answer.set_result(rpc.LeaseGrantResponse(ID=5))
        assert await client.taken_back() == [("revoke", rpc.LeaseRevokeRequest(ID=5))]

    run(scenario)


def test_only_a_lease_that_was_granted_for_the_call_ends_with_its_failure() -> None:
    async def scenario(client: Client) -> None:
        client.answer.set_result(rpc.LeaseGrantResponse(ID=5))
        with pytest.raises(ZeroDivisionError):
            async with CallLease(client, 6):  # type: ignore[arg-type]
                raise ZeroDivisionError
        async with CallLease(client, 0) as lease:  # type: ignore[arg-type]
            assert lease == 5
        assert await client.taken_back() == []
        with pytest.raises(ZeroDivisionError):
            async with CallLease(client, 0):  # type: ignore[arg-type]
                raise ZeroDivisionError
        assert await client.taken_back() == [("revoke", rpc.LeaseRevokeRequest(ID=5))]

    run(scenario)
