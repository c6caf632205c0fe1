"""Generated etcd requests: a small world of keys, so that calls meet each other often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rusd.proto import rpc_pb2 as rpc

keys = st.sampled_from([b"a", b"a\0", b"aa", b"ab", b"b", b"b\xff", b"c", b"\xff", b"\xff\xff"])
bad_keys = st.just(b"")
any_keys = st.one_of(keys, keys, keys, keys, keys, keys, bad_keys)
ends = st.sampled_from([b"", b"", b"\0", b"b", b"c", b"a\0", b"\xff\xff\xff"])
values = st.sampled_from([b"", b"1", b"2", b"10", b"x" * 300])
small = st.integers(0, 4)
#: Revisions relative to the example's start; None leaves the field out.
revisions = st.one_of(st.none(), st.none(), st.integers(0, 14))
leases = st.integers(1, 3)


def ranges() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"key": any_keys, "range_end": ends},
        optional={
            "limit": st.integers(-1, 4),
            "revision": st.integers(0, 14),
            "sort_order": st.integers(0, 2),
            "sort_target": st.integers(0, 4),
            "serializable": st.booleans(),
            "keys_only": st.booleans(),
            "count_only": st.booleans(),
            "min_mod_revision": st.integers(0, 14),
            "max_mod_revision": st.integers(0, 14),
            "min_create_revision": st.integers(0, 14),
            "max_create_revision": st.integers(0, 14),
        },
    )


def puts() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"key": any_keys, "value": values},
        optional={
            "prev_kv": st.booleans(),
            "lease": st.integers(0, 4),
            "ignore_value": st.booleans(),
            "ignore_lease": st.booleans(),
        },
    )


def deletes() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"key": any_keys, "range_end": ends}, optional={"prev_kv": st.booleans()}
    )


def compares() -> st.SearchStrategy[dict[str, Any]]:
    union = st.one_of(
        st.fixed_dictionaries({}),
        st.fixed_dictionaries({"version": st.integers(0, 3)}),
        st.fixed_dictionaries({"create_revision": st.integers(0, 14)}),
        st.fixed_dictionaries({"mod_revision": st.integers(0, 14)}),
        st.fixed_dictionaries({"value": values}),
        st.fixed_dictionaries({"lease": st.integers(0, 3)}),
    )
    matching = st.one_of(
        st.fixed_dictionaries({"target": st.just(0), "version": st.integers(0, 3)}),
        st.fixed_dictionaries({"target": st.just(1), "create_revision": st.integers(0, 14)}),
        st.fixed_dictionaries({"target": st.just(2), "mod_revision": st.integers(0, 14)}),
        st.fixed_dictionaries({"target": st.just(3), "value": values}),
        st.fixed_dictionaries({"target": st.just(4), "lease": st.integers(0, 3)}),
        st.builds(lambda target, rest: {"target": target, **rest}, st.integers(0, 4), union),
    )
    base = st.fixed_dictionaries(
        {"key": any_keys, "result": st.integers(0, 3)}, optional={"range_end": ends}
    )
    return st.builds(lambda first, second: {**first, **second}, base, matching)


def operations(depth: int = 2) -> st.SearchStrategy[tuple[str, Any]]:
    plain = st.one_of(
        st.tuples(st.just("range"), ranges()),
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("put"), puts()),
        st.tuples(st.just("delete"), deletes()),
        st.tuples(st.just("empty"), st.none()),
    )
    if depth == 0:
        return plain
    return st.one_of(plain, plain, plain, st.tuples(st.just("txn"), txns(depth - 1)))


def txns(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "compare": st.lists(compares(), max_size=2),
            "success": st.lists(operations(depth), max_size=3),
            "failure": st.lists(operations(depth), max_size=3),
        }
    )


class Builder:
    """Turns generated values into messages: revisions and lease ids become absolute."""

    def __init__(self, base: int, leases: int) -> None:
        self._base = base
        self._leases = leases

    def revision(self, relative: int) -> int:
        return self._base + relative - 2 if relative else 0

    def lease(self, relative: int) -> int:
        return self._leases + relative if relative else 0

    def absolute(self, fields: dict[str, Any]) -> dict[str, Any]:
        done = dict(fields)
        for name, value in fields.items():
            if name.endswith("revision"):
                done[name] = self.revision(value)
            elif name == "lease":
                done[name] = self.lease(value)
        return done

    def operation(self, kind: str, fields: Any) -> rpc.RequestOp:
        if kind == "range":
            return rpc.RequestOp(request_range=rpc.RangeRequest(**self.absolute(fields)))
        if kind == "put":
            return rpc.RequestOp(request_put=rpc.PutRequest(**self.absolute(fields)))
        if kind == "delete":
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(**fields))
        if kind == "txn":
            return rpc.RequestOp(request_txn=self.txn(fields))
        return rpc.RequestOp()

    def txn(self, fields: dict[str, Any]) -> rpc.TxnRequest:
        return rpc.TxnRequest(
            compare=[rpc.Compare(**self.absolute(compare)) for compare in fields["compare"]],
            success=[self.operation(kind, rest) for kind, rest in fields["success"]],
            failure=[self.operation(kind, rest) for kind, rest in fields["failure"]],
        )
