"""A client that records its calls and their responses."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

from rusd.proto import rpc_pb2 as rpc

from .connection import Connections, Failure
from .history import Action, History, LeaseCall, Operation, Outcome

_RANGE = "/etcdserverpb.KV/Range"
_PUT = "/etcdserverpb.KV/Put"
_DELETE = "/etcdserverpb.KV/DeleteRange"
_TXN = "/etcdserverpb.KV/Txn"
_GRANT = "/etcdserverpb.Lease/LeaseGrant"
_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
_TTL = "/etcdserverpb.Lease/LeaseTimeToLive"

#: Numbers of txns, over all clients of this process.
_groups = itertools.count(1)


class Client:
    """A client; used by one thread."""

    def __init__(
        self,
        number: int,
        names: Sequence[str],
        connections: Connections,
        history: History,
        clock: Callable[[], float],
        seed: int,
    ) -> None:
        """`names`: of the members, in the order of `connections`."""
        self.number = number
        self.random = random.Random(seed)
        self.clock = clock
        self.history = history
        self.names = names
        self.connections = connections
        self._values = itertools.count(1)

    def member(self) -> int:
        """Return a random member."""
        return self.random.randrange(len(self.names))

    def value(self) -> str:
        """Return a value that is written only once in a run."""
        return f"{self.number}.{next(self._values)}"

    # --- registers --------------------------------------------------------------------------------

    def read(self, key: str, *, serializable: bool = False) -> str | None:
        """Returns the value; None if absent or unknown."""
        member, invoked = self.member(), self.clock()
        request = rpc.RangeRequest(key=key.encode(), serializable=serializable)
        try:
            answer = self.connections.call(member, _RANGE, request, rpc.RangeResponse)
        except Failure as failure:
            self._record(Action.READ, key, member, invoked, failure, serializable=serializable)
            return None
        self._record_read(key, member, invoked, answer, serializable=serializable)
        return answer.kvs[0].value.decode() if answer.kvs else None

    def write(self, key: str) -> None:
        member, invoked, value = self.member(), self.clock(), self.value()
        request = rpc.PutRequest(key=key.encode(), value=value.encode())
        try:
            answer = self.connections.call(member, _PUT, request, rpc.PutResponse)
        except Failure as failure:
            self._record(Action.WRITE, key, member, invoked, failure, argument=value)
        else:
            revision = answer.header.revision
            self._record(Action.WRITE, key, member, invoked, None, revision, argument=value)

    def delete(self, key: str) -> None:
        member, invoked = self.member(), self.clock()
        request = rpc.DeleteRangeRequest(key=key.encode())
        try:
            answer = self.connections.call(member, _DELETE, request, rpc.DeleteRangeResponse)
        except Failure as failure:
            self._record(Action.DELETE, key, member, invoked, failure)
        else:
            self._record(Action.DELETE, key, member, invoked, None, answer.header.revision)

    def swap(self, key: str, expected: str | None, value: str) -> bool:
        """Compares and swaps. Returns whether it certainly succeeded."""
        member, invoked = self.member(), self.clock()
        request = rpc.TxnRequest(
            compare=[_equals(key, expected)], success=[put_operation(key, value)]
        )
        failure, answer = None, rpc.TxnResponse()
        try:
            answer = self.connections.call(member, _TXN, request, rpc.TxnResponse)
        except Failure as error:
            failure = error
        self._record(
            Action.CAS,
            key,
            member,
            invoked,
            failure,
            answer.header.revision,
            argument=value,
            expected=expected,
            succeeded=answer.succeeded if failure is None else None,
        )
        return answer.succeeded

    # --- several keys -----------------------------------------------------------------------------

    def write_all(self, keys: Sequence[str]) -> None:
        """Sets all keys in one txn."""
        member, invoked, group = self.member(), self.clock(), next(_groups)
        values = {key: self.value() for key in keys}
        request = rpc.TxnRequest(
            success=[put_operation(key, value) for key, value in values.items()]
        )
        failure, revision = None, 0
        try:
            answer = self.connections.call(member, _TXN, request, rpc.TxnResponse)
            revision = answer.header.revision
        except Failure as error:
            failure = error
        for key, value in values.items():
            self._record(
                Action.WRITE, key, member, invoked, failure, revision, argument=value, group=group
            )

    def read_all(self, keys: Sequence[str]) -> None:
        """Reads all keys in one txn."""
        member, invoked, group = self.member(), self.clock(), next(_groups)
        request = rpc.TxnRequest(
            success=[
                rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode())) for key in keys
            ]
        )
        try:
            answer = self.connections.call(member, _TXN, request, rpc.TxnResponse)
        except Failure as failure:
            for key in keys:
                self._record(Action.READ, key, member, invoked, failure, group=group)
            return
        for key, response in zip(keys, answer.responses, strict=True):
            found = rpc.RangeResponse(header=answer.header, kvs=response.response_range.kvs)
            self._record_read(key, member, invoked, found, group=group)

    # --- leases -----------------------------------------------------------------------------------

    def grant(self, ttl: int, key: str = "") -> int:
        """Grants a lease for `key`, which is attached later. Returns its id; 0 if unknown."""
        member, invoked = self.member(), self.clock()
        lease = self.random.randrange(1, 1 << 62)
        request = rpc.LeaseGrantRequest(TTL=ttl, ID=lease)
        try:
            answer = self.connections.call(member, _GRANT, request, rpc.LeaseGrantResponse)
        except Failure as failure:
            self._lease(lease, "grant", member, invoked, failure, ttl, key)
            return 0
        self._lease(lease, "grant", member, invoked, None, answer.TTL, key)
        return lease

    def keep_alive(self, lease: int) -> int:
        """Returns the TTL of the response; 0 if the lease is gone, -1 without a response."""
        member, invoked = self.member(), self.clock()
        # (One message each way: a stream that is no longer is the same as a unary call.)
        request = rpc.LeaseKeepAliveRequest(ID=lease)
        try:
            answer = self.connections.call(member, _KEEP_ALIVE, request, rpc.LeaseKeepAliveResponse)
        except Failure as failure:
            self._lease(lease, "keepalive", member, invoked, failure)
            return -1
        self._lease(lease, "keepalive", member, invoked, None, answer.TTL)
        return answer.TTL

    def revoke(self, lease: int) -> None:
        member, invoked = self.member(), self.clock()
        request = rpc.LeaseRevokeRequest(ID=lease)
        try:
            self.connections.call(member, _REVOKE, request, rpc.LeaseRevokeResponse)
        except Failure as failure:
            self._lease(lease, "revoke", member, invoked, failure)
        else:
            self._lease(lease, "revoke", member, invoked, None)

    def time_to_live(self, lease: int) -> None:
        member, invoked = self.member(), self.clock()
        request = rpc.LeaseTimeToLiveRequest(ID=lease)
        try:
            answer = self.connections.call(member, _TTL, request, rpc.LeaseTimeToLiveResponse)
        except Failure as failure:
            self._lease(lease, "ttl", member, invoked, failure)
        else:
            # 0: less than a second; below 0: an expiry that was not applied yet (which a
            # new leader may put off); a lease that is gone has no granted TTL either.
            ttl = max(1, answer.TTL) if answer.grantedTTL else 0
            self._lease(lease, "ttl", member, invoked, None, ttl)

    # --- without a record of their own ------------------------------------------------------------

    def unrecorded_txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse | None:
        """Runs a txn on keys outside of the history. Returns None without a response."""
        try:
            return self.connections.call(self.member(), _TXN, request, rpc.TxnResponse)
        except Failure:
            return None

    # --- records ----------------------------------------------------------------------------------

    def _record_read(
        self,
        key: str,
        member: int,
        invoked: float,
        answer: rpc.RangeResponse,
        *,
        serializable: bool = False,
        group: int = 0,
    ) -> None:
        kv = answer.kvs[0] if answer.kvs else None
        self._record(
            Action.READ,
            key,
            member,
            invoked,
            None,
            answer.header.revision,
            result=kv.value.decode() if kv else None,
            mod_revision=kv.mod_revision if kv else 0,
            version=kv.version if kv else 0,
            serializable=serializable,
            group=group,
        )

    def _record(
        self,
        action: Action,
        key: str,
        member: int,
        invoked: float,
        failure: Failure | None,
        revision: int = 0,
        *,
        argument: str | None = None,
        expected: str | None = None,
        result: str | None = None,
        succeeded: bool | None = None,
        serializable: bool = False,
        mod_revision: int = 0,
        version: int = 0,
        group: int = 0,
    ) -> None:
        outcome = Outcome.OK
        if failure is not None:
            outcome = failure.outcome(writes=action is not Action.READ)
        self.history.add(
            Operation(
                client=self.number,
                action=action,
                key=key,
                endpoint=self.names[member],
                invoked=invoked,
                completed=None if outcome is Outcome.UNKNOWN else self.clock(),
                outcome=outcome,
                argument=argument,
                expected=expected,
                result=result,
                succeeded=succeeded,
                serializable=serializable,
                revision=revision,
                mod_revision=mod_revision,
                version=version,
                group=group,
                error=str(failure or ""),
            )
        )

    def _lease(
        self,
        lease: int,
        action: str,
        member: int,
        invoked: float,
        failure: Failure | None,
        ttl: int = 0,
        key: str = "",
    ) -> None:
        outcome = Outcome.OK if failure is None else failure.outcome(writes=action != "ttl")
        completed = None if outcome is Outcome.UNKNOWN else self.clock()
        name = self.names[member]
        self.history.add(
            LeaseCall(self.number, lease, action, name, invoked, completed, outcome, ttl, key)
        )


def put_operation(key: str, value: str, lease: int = 0) -> rpc.RequestOp:
    """Return a put as an operation of a transaction."""
    put = rpc.PutRequest(key=key.encode(), value=value.encode(), lease=lease)
    return rpc.RequestOp(request_put=put)


def _equals(key: str, expected: str | None) -> rpc.Compare:
    if expected is None:
        return created_at(key, 0)
    return rpc.Compare(
        key=key.encode(),
        target=rpc.Compare.VALUE,
        result=rpc.Compare.EQUAL,
        value=expected.encode(),
    )


def created_at(key: str, revision: int) -> rpc.Compare:
    """Compare a key's create revision; 0: the key is absent."""
    return rpc.Compare(
        key=key.encode(),
        target=rpc.Compare.CREATE,
        result=rpc.Compare.EQUAL,
        create_revision=revision,
    )
