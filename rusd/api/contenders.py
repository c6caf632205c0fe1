"""Callers that contend for a name: what Lock and Election have in common.

    name/                     the prefix of all contenders
    name/<lease in hex>       the key of one, created once; the oldest of them holds the name

A contender waits for the deletion of the contender that entered last before it, one after the
other, so that a deletion wakes one waiter. Every key ends with its lease. Keys, order and texts are
those of etcd's `client/v3/concurrency`, so that its clients and these services contend together.
"""

import asyncio
from types import TracebackType

from rusd.api.own_client import OwnClient
from rusd.base.errors import Refusal
from rusd.proto import rpc_pb2 as rpc

#: Seconds of a lease that is granted for one call.
LEASE_TTL = 60


def prefix_range(name: bytes) -> tuple[bytes, bytes]:
    """Return the key and range_end of all contenders for `name`."""
    return name + b"/", name + b"0"


def holder_of(name: bytes) -> rpc.RangeRequest:
    """Return a range request for the oldest contender."""
    key, range_end = prefix_range(name)
    return rpc.RangeRequest(
        key=key,
        range_end=range_end,
        limit=1,
        sort_order=rpc.RangeRequest.ASCEND,
        sort_target=rpc.RangeRequest.CREATE,
    )


def created_at(key: bytes, revision: int) -> rpc.Compare:
    """Return the condition that a key was created at `revision`; 0: that it is absent."""
    return rpc.Compare(
        result=rpc.Compare.EQUAL,
        target=rpc.Compare.CREATE,
        key=key,
        create_revision=revision,
    )


class CallLease:
    """The lease of one call: the one that the request names, or one granted for the call, which is
    revoked if the call fails or is cancelled (etcd leaves it to expire).

        async with CallLease(client, request.lease) as lease: ...
    """

    def __init__(self, client: OwnClient, lease: int) -> None:
        self._client = client
        self._lease = lease
        self._granting: asyncio.Task[rpc.LeaseGrantResponse] | None = None

    async def __aenter__(self) -> int:
        if self._lease:
            return self._lease
        request = rpc.LeaseGrantRequest(TTL=LEASE_TTL)
        self._granting = asyncio.ensure_future(self._client.grant(request))
        try:
            return (await asyncio.shield(self._granting)).ID
        except asyncio.CancelledError:
            self._client.start(self._revoke(self._granting))
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._granting is not None:
            self._client.start(self._revoke(self._granting))

    async def _revoke(self, granting: asyncio.Task[rpc.LeaseGrantResponse]) -> None:
        granted = await granting
        await self._client.after_failure().revoke(rpc.LeaseRevokeRequest(ID=granted.ID))


class Contender:
    """The key of one caller among the keys of a name."""

    def __init__(self, client: OwnClient, name: bytes, lease: int) -> None:
        self._client = client
        self._prefix, self._end = prefix_range(name)
        self._lease = lease
        self._entering: asyncio.Task[rpc.TxnResponse] | None = None
        self.key = self._prefix + b"%x" % lease
        #: At which the key was created.
        self.revision = 0

    async def enter(self, value: bytes, *others: rpc.RequestOp) -> rpc.TxnResponse:
        """Create the key, or find it: the lease may have entered before. `others` are done in the
        same txn.
        """
        put = rpc.RequestOp(
            request_put=rpc.PutRequest(key=self.key, value=value, lease=self._lease)
        )
        get = rpc.RequestOp(request_range=rpc.RangeRequest(key=self.key))
        request = rpc.TxnRequest(
            compare=[created_at(self.key, 0)],
            success=[put, *others],
            failure=[get, *others],
        )
        self._entering = asyncio.ensure_future(self._client.txn(request))
        response = await asyncio.shield(self._entering)
        self.revision = response.header.revision
        if not response.succeeded:
            self.revision = response.responses[0].response_range.kvs[0].create_revision
        return response

    async def wait(self) -> None:
        """Wait until no older contender is left."""
        older = rpc.RangeRequest(
            key=self._prefix,
            range_end=self._end,
            limit=1,
            sort_order=rpc.RangeRequest.DESCEND,
            sort_target=rpc.RangeRequest.CREATE,
            max_create_revision=self.revision - 1,
            keys_only=True,
        )
        while True:
            found = await self._client.range(older)
            if not found.kvs:
                return
            await self._deletion(found.kvs[0].key, found.header.revision)

    def withdraw(self) -> None:
        """Delete the key in the background, after the call failed or was cancelled."""
        self._client.start(self._withdraw())

    async def _deletion(self, key: bytes, revision: int) -> None:
        """Wait until `key`, which exists at `revision`, is deleted, or may have been."""
        watch = self._client.watch(
            rpc.WatchCreateRequest(
                key=key, start_revision=revision + 1, filters=[rpc.WatchCreateRequest.NOPUT]
            )
        )
        try:
            await watch.next()
        finally:
            watch.close()

    async def _withdraw(self) -> None:
        revision = self.revision
        if not revision:
            assert self._entering is not None
            try:
                entered = await self._entering
            except Refusal:
                return
            if not entered.succeeded:
                # A key of an earlier call of this lease.
                return
            revision = entered.header.revision
        await resign(self._client.after_failure(), self.key, revision)


async def resign(client: OwnClient, key: bytes, revision: int) -> rpc.TxnResponse:
    """Delete the key of a contender, if it is the one created at `revision`."""
    delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
    return await client.txn(rpc.TxnRequest(compare=[created_at(key, revision)], success=[delete]))
