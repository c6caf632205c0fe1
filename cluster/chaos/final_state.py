"""Reads the final state of each member: its keys, its hash, and all its changes."""

from __future__ import annotations

import queue
import time
from typing import Any

from rusd.proto import rpc_pb2 as rpc

from .connection import Connections, Failure
from .history import Change, Final
from .workloads.watchers import change_of

#: Seconds for a member to apply everything, and for each of its responses.
PATIENCE = 120.0


def final(member: int, name: str, revision: int, connections: Connections) -> Final:
    """Returns the state of one member at `revision`. Raises TimeoutError if it is not reached."""
    _wait_revision(member, name, revision, connections)
    hashed = connections.call(
        member,
        "/etcdserverpb.Maintenance/HashKV",
        rpc.HashKVRequest(revision=revision),
        rpc.HashKVResponse,
        PATIENCE,
    )
    everything = rpc.RangeRequest(key=b"\0", range_end=b"\0", serializable=True, revision=revision)
    found = connections.call(
        member, "/etcdserverpb.KV/Range", everything, rpc.RangeResponse, PATIENCE
    )
    return Final(
        member=name,
        revision=revision,
        compact_revision=max(0, hashed.compact_revision),
        hash=hashed.hash,
        keys={
            each.key.decode(): (each.value.decode(), each.mod_revision, each.version)
            for each in found.kvs
        },
        changes=tuple(_changes(member, name, revision, connections)),
    )


def revision_of(connections: Connections, members: int) -> int:
    """Returns the cluster's revision, by a linearizable read at any member."""
    deadline = time.monotonic() + PATIENCE
    member = 0
    while True:
        try:
            request = rpc.RangeRequest(key=b"end")
            answer = connections.call(member, "/etcdserverpb.KV/Range", request, rpc.RangeResponse)
            return int(answer.header.revision)
        except Failure:
            member = (member + 1) % members
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _wait_revision(member: int, name: str, revision: int, connections: Connections) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            request = rpc.RangeRequest(key=b"end", serializable=True)
            answer = connections.call(member, "/etcdserverpb.KV/Range", request, rpc.RangeResponse)
            if answer.header.revision >= revision:
                return
        except Failure:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} does not reach revision {revision}")
        time.sleep(0.05)


def _changes(member: int, name: str, revision: int, connections: Connections) -> list[Change]:
    """Returns all changes up to `revision`, by a watch from revision 1."""
    changes: list[Change] = []
    create = rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1)
    with _Watch(member, create, connections) as stream:
        for response in stream:
            if response.canceled:
                raise RuntimeError(f"{name} ends a watch from 1: {response.cancel_reason}")
            changes += map(change_of, response.events)
            if changes and changes[-1].mod_revision >= revision:
                return [one for one in changes if one.mod_revision <= revision]
    return changes


class _Watch:
    """A watch stream of one watcher, cancelled at the end of the block."""

    def __init__(
        self, member: int, create: rpc.WatchCreateRequest, connections: Connections
    ) -> None:
        self._requests: queue.SimpleQueue[rpc.WatchRequest | None] = queue.SimpleQueue()
        self._requests.put(rpc.WatchRequest(create_request=create))
        self._stream = connections.stream(
            member,
            "/etcdserverpb.Watch/Watch",
            iter(self._requests.get, None),
            rpc.WatchResponse,
            PATIENCE,
        )

    def __enter__(self) -> Any:
        return self._stream

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._stream.cancel()
