"""The member as a client of itself: watches that are bounded and end, and texts of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rusd.api.own_client import UNREAD_BYTES, OwnClient, OwnServices
from rusd.auth.records import ANONYMOUS, Identity
from rusd.auth.store import AuthStore
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.methods import Unary
from tests.support.tasks import unexpected
from tests.unit.api.test_watch import Member


def call_of(identity: Identity = ANONYMOUS) -> Call:
    return Call({}, b"outer", None, Caller("test"), identity=identity)


def client_of(member: Member) -> OwnClient:
    methods = member.service.methods()
    return OwnServices(methods, methods, member.auth, unexpected).client(call_of())


def run(tmp_path: Path, scenario: Callable[[Member], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await scenario(Member(tmp_path))

    asyncio.run(main())


def test_a_watch_that_is_not_read_holds_a_bounded_number_of_bytes_and_misses_nothing(
    tmp_path: Path,
) -> None:
    async def scenario(member: Member) -> None:
        scene, value = member.scene, b"x" * 1000
        watch = client_of(member).watch(rpc.WatchCreateRequest(key=b"a"))
        for _ in range(300):
            scene.put(b"a", value=value)
        assert UNREAD_BYTES <= watch.unread < UNREAD_BYTES + 2000
        assert scene.hub.slow_watchers == 1
        seen: list[int] = []
        while len(seen) < 300:
            while not watch.unread:
                scene.loop.step()
            response = await watch.next()
            assert response is not None
            seen += [event.kv.version for event in response.events]
        assert seen == list(range(1, 301))
        watch.close()
        assert scene.hub.watchers == 0 and scene.hub.streams == 0

    run(tmp_path, scenario)


def test_a_watch_of_what_is_compacted_says_so(tmp_path: Path) -> None:
    async def scenario(member: Member) -> None:
        for _ in range(4):
            member.scene.put(b"a", b"")
        member.scene.compact(4)
        watch = client_of(member).watch(rpc.WatchCreateRequest(key=b"a", start_revision=2))
        member.scene.loop.advance(1)
        assert await watch.next() is None
        watch.close()

    run(tmp_path, scenario)


def test_a_watch_ends_with_the_member(tmp_path: Path) -> None:
    async def scenario(member: Member) -> None:
        watch = client_of(member).watch(rpc.WatchCreateRequest(key=b"a"))
        waiting = asyncio.ensure_future(watch.next())
        await asyncio.sleep(0)
        member.scene.hub.close(errors.STOPPED())
        with pytest.raises(EtcdError, match="server stopped"):
            await waiting
        watch.close()

    run(tmp_path, scenario)


def test_a_refused_inner_call_has_its_text_and_the_status_unknown() -> None:
    def refuse(request: object, call: Call) -> bytes:
        assert call.raw == b"", "the outer request is not proposed"
        raise errors.LEASE_NOT_FOUND()

    async def main() -> None:
        methods = {"/etcdserverpb.KV/Txn": Unary(rpc.TxnRequest, refuse)}
        client = OwnServices(methods, methods, AuthStore(), unexpected).client(call_of())
        with pytest.raises(EtcdError) as caught:
            await client.txn(rpc.TxnRequest())
        assert caught.value == EtcdError(Code.UNKNOWN, errors.LEASE_NOT_FOUND.message)

    asyncio.run(main())


def test_what_is_taken_back_is_signed_at_the_auth_revision_of_that_time() -> None:
    seen: list[Identity] = []

    def run(request: object, call: Call) -> bytes:
        seen.append(call.identity)
        return b""

    async def main() -> None:
        auth = AuthStore()
        methods = {"/etcdserverpb.KV/Txn": Unary(rpc.TxnRequest, run)}
        services = OwnServices({}, methods, auth, unexpected)
        for identity in (Identity("u", auth.revision + 1), ANONYMOUS):
            await services.client(call_of(identity)).after_failure().txn(rpc.TxnRequest())
        assert seen == [Identity("u", auth.revision), ANONYMOUS]

    asyncio.run(main())
