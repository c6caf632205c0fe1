"""MVCC as plain dictionaries: what the store must be equal to, written without regard to speed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc


@dataclass(frozen=True)
class Version:
    """One live version of a key."""

    key: bytes
    create: int
    mod: int
    version: int
    value: bytes
    lease: int

    def message(self, *, keys_only: bool = False) -> kv_pb2.KeyValue:
        return kv_pb2.KeyValue(
            key=self.key,
            create_revision=self.create,
            mod_revision=self.mod,
            version=self.version,
            value=b"" if keys_only else self.value,
            lease=self.lease,
        )


@dataclass(frozen=True)
class Change:
    """One event: the version after (None for a deletion) and before."""

    key: bytes
    after: Version | None
    before: Version | None


class Model:
    """The whole state at every revision."""

    def __init__(self) -> None:
        self.states: dict[int, dict[bytes, Version]] = {1: {}}
        self.changes: dict[int, list[Change]] = {}
        self.revision = 1
        self.compacted = -1

    def write(self, operations: list[tuple[str, bytes, bytes, int]]) -> None:
        """One txn of ("put" | "delete", key, value, lease)."""
        state = dict(self.states[self.revision])
        main = self.revision + 1
        changes = []
        for kind, key, value, lease in operations:
            before = state.get(key)
            if kind == "put":
                after = Version(key, main, main, 1, value, lease)
                if before is not None:
                    after = replace(after, create=before.create, version=before.version + 1)
                state[key] = after
                changes.append(Change(key, after, before))
            elif before is not None:
                del state[key]
                changes.append(Change(key, None, before))
        if changes:
            self.revision = main
            self.states[main] = state
            self.changes[main] = changes

    def range(self, request: rpc.RangeRequest) -> tuple[list[kv_pb2.KeyValue], bool, int] | str:
        """(kvs, more, count), or "future" or "compacted"."""
        if request.revision > self.revision:
            return "future"
        if 0 < request.revision < self.compacted:
            return "compacted"
        state = self.states[request.revision or self.revision]
        found = [state[key] for key in sorted(state) if matches(key, request)]
        count = len(found)
        found = [one for one in found if passes(one, request)]
        keys = {
            rpc.RangeRequest.KEY: lambda one: one.key,
            rpc.RangeRequest.VERSION: lambda one: one.version,
            rpc.RangeRequest.CREATE: lambda one: one.create,
            rpc.RangeRequest.MOD: lambda one: one.mod,
            rpc.RangeRequest.VALUE: lambda one: one.value,
        }
        descending = request.sort_order == rpc.RangeRequest.DESCEND
        filtered = (
            request.min_mod_revision
            or request.max_mod_revision
            or request.min_create_revision
            or request.max_create_revision
        )
        if request.sort_order == rpc.RangeRequest.NONE and request.limit > 0 and not filtered:
            found = found[: request.limit + 1]
        found.sort(key=keys[request.sort_target], reverse=descending)
        if request.count_only:
            return [], False, count
        more = 0 < request.limit < len(found)
        if more:
            found = found[: request.limit]
        return [one.message(keys_only=request.keys_only) for one in found], more, count


def matches(key: bytes, request: rpc.RangeRequest) -> bool:
    if not request.range_end:
        return key == request.key
    return key >= request.key and (request.range_end == b"\0" or key < request.range_end)


def passes(one: Version, request: rpc.RangeRequest) -> bool:
    return (
        (not request.min_mod_revision or one.mod >= request.min_mod_revision)
        and (not request.max_mod_revision or one.mod <= request.max_mod_revision)
        and (not request.min_create_revision or one.create >= request.min_create_revision)
        and (not request.max_create_revision or one.create <= request.max_create_revision)
    )
