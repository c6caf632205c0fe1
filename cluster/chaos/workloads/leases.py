"""Leases that are kept alive for a while, then revoked or left to run out."""

from __future__ import annotations

import itertools

from rusd.proto import rpc_pb2 as rpc

from ..client import Client, created_at, put_operation
from .worker import Worker

#: Seconds; etcd's shortest is one and a half election timeouts.
TTL = 3
#: Prefix of keys attached to leases; the history does not record their writes.
PREFIX = "lease/"


class Leases(Worker):
    """Holds a lease with a key, then replaces it."""

    def __init__(self, client: Client, rate: float) -> None:
        super().__init__(client, rate)
        self._numbers = itertools.count()
        self._lease = 0
        self._left = 0

    def step(self) -> None:
        client = self.client
        if not self._lease:
            self._begin()
        elif self._left > 0:
            self._left -= 1
            if client.random.random() < 0.2:
                client.time_to_live(self._lease)
            elif client.keep_alive(self._lease) == 0:
                self._lease = 0
        else:
            if client.random.random() < 0.5:
                client.revoke(self._lease)
            self._lease = 0

    def _begin(self) -> None:
        key = f"{PREFIX}{self.client.number}/{next(self._numbers)}"
        self._lease = self.client.grant(TTL, key)
        self._left = self.client.random.randrange(2, 12)
        if self._lease:
            put = put_operation(key, self.client.value(), self._lease)
            self.client.unrecorded_txn(rpc.TxnRequest(compare=[created_at(key, 0)], success=[put]))
