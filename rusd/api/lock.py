"""v3lockpb.Lock: mutual exclusion by keys and leases, for clients without a library for it.

The lock is a key that exists as long as its lease and until Unlock. A call that is cancelled, whose
client goes away, or that fails while it waits, deletes its key.
"""

from rusd.api.contenders import CallLease, Contender, holder_of
from rusd.api.own_client import OwnServices
from rusd.proto import rpc_pb2 as rpc
from rusd.proto import v3lock_pb2 as pb
from rusd.rpc.call import Call
from rusd.rpc.errors import SESSION_EXPIRED
from rusd.rpc.methods import Methods, Unary


class LockService:
    """v3lockpb.Lock."""

    def __init__(self, services: OwnServices) -> None:
        self._services = services

    def methods(self) -> Methods:
        """gRPC path -> method."""
        return {
            "/v3lockpb.Lock/Lock": Unary(pb.LockRequest, self.lock),
            "/v3lockpb.Lock/Unlock": Unary(pb.UnlockRequest, self.unlock),
        }

    async def lock(self, request: pb.LockRequest, call: Call) -> bytes:
        """Responds when the lock is held. A lease that holds it already gets it at once."""
        client = self._services.client(call)
        async with CallLease(client, request.lease) as lease:
            contender = Contender(client, request.name, lease)
            try:
                entered = await contender.enter(
                    b"", rpc.RequestOp(request_range=holder_of(request.name))
                )
                header = entered.header
                holder = entered.responses[1].response_range.kvs
                if holder and holder[0].create_revision != contender.revision:
                    await contender.wait()
                    found = await client.range(rpc.RangeRequest(key=contender.key))
                    if not found.kvs:
                        # The lease has ended meanwhile.
                        raise SESSION_EXPIRED()
                    header = found.header
            except BaseException:
                contender.withdraw()
                raise
        return pb.LockResponse(header=header, key=contender.key).SerializeToString()

    async def unlock(self, request: pb.UnlockRequest, call: Call) -> bytes:
        """Deletes the key that Lock returned."""
        client = self._services.client(call)
        deleted = await client.delete_range(rpc.DeleteRangeRequest(key=request.key))
        return pb.UnlockResponse(header=deleted.header).SerializeToString()
