"""MVCC as scripts: requests in the order of the log, and what they answer and store.

The scripts are in `scripts/`; `tests/support/testscript.py` says how to read and record them.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rusd.base.errors import Refusal
from rusd.base.sliced import finish
from rusd.mvcc.revision import parse_revision_key
from rusd.proto import kv_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.storage import Family
from tests.support.testscript import Command, Run, ScriptError, replay
from tests.unit.state.driver import Driver

SCRIPTS = sorted((Path(__file__).parent / "scripts").iterdir())
TARGETS = {"version": "version", "create": "create_revision", "mod": "mod_revision",
           "value": "value", "lease": "lease"}  # fmt: skip


def shown(kv: Any) -> str:
    lease = f" lease {kv.lease}" if kv.lease else ""
    return (
        f"{kv.key.decode()} = {kv.value.decode()!r}  create {kv.create_revision}"
        f" mod {kv.mod_revision} version {kv.version}{lease}"
    )


def parse(encoded: bytes) -> Any:
    return kv_pb2.KeyValue.FromString(encoded)


def complete(run: Callable[[Command], str | Iterable[str] | None]) -> Run:
    """A command whose output is made before its arguments are checked."""

    def complete_run(command: Command) -> str | list[str]:
        output = run(command)
        return output if isinstance(output, str) else list(output or ())

    return complete_run


class Session:
    """A state machine that is asked one request after another."""

    def __init__(self, directory: Path) -> None:
        self.driver = Driver(directory)

    def commands(self) -> dict[str, Any]:
        names = ("put", "del", "get", "txn", "compact", "remove_superseded", "history", "rows",
                 "hash", "grant", "revoke", "lease", "revision", "restart")  # fmt: skip
        return {name: complete(getattr(self, "run_" + name)) for name in names}

    def close(self) -> None:
        self.driver.machine.close()

    def _put(self, command: Command) -> rpc.PutRequest:
        return rpc.PutRequest(
            key=command.argument().encode(),
            value=command.argument("").encode(),
            lease=int(command.option("lease", "0")),
            prev_kv="prev_kv" in command.options and command.option("prev_kv") == "yes",
        )

    def _range(self, command: Command) -> rpc.RangeRequest:
        fields: dict[str, Any] = {
            name: int(command.option(name, "0"))
            for name in ("limit", "revision", "min_mod_revision", "max_mod_revision",
                         "min_create_revision", "max_create_revision")
        }  # fmt: skip
        order = command.option("order", "none").upper()
        target = command.option("by", "key").upper()
        return rpc.RangeRequest(
            key=command.argument().encode(),
            range_end=command.argument("").encode().replace(b"*", b"\0"),
            sort_order=rpc.RangeRequest.SortOrder.Value(order),
            sort_target=rpc.RangeRequest.SortTarget.Value(target),
            count_only=command.option("count_only", "no") == "yes",
            keys_only=command.option("keys_only", "no") == "yes",
            **fields,
        )

    def _delete(self, command: Command) -> rpc.DeleteRangeRequest:
        return rpc.DeleteRangeRequest(
            key=command.argument().encode(),
            range_end=command.argument("").encode().replace(b"*", b"\0"),
            prev_kv=command.option("prev_kv", "no") == "yes",
        )

    def run_put(self, command: Command) -> list[str]:
        request = self._put(command)
        revision, response = self.driver.call(1, request, rpc.PutResponse)  # type: ignore[arg-type]
        before = [f"before: {shown(response.prev_kv)}"] if response.HasField("prev_kv") else []
        return [f"revision {revision}", *before]

    def run_del(self, command: Command) -> list[str]:
        revision, response = self.driver.call(
            2,  # type: ignore[arg-type]
            self._delete(command),
            rpc.DeleteRangeResponse,
        )
        return [f"deleted {response.deleted}, revision {revision}",
                *(f"before: {shown(kv)}" for kv in response.prev_kvs)]  # fmt: skip

    def run_get(self, command: Command) -> list[str]:
        found = self.driver.machine.store.range(self._range(command))
        more = ", more" if found.more else ""
        return [*(shown(parse(kv)) for kv in found.kvs), f"count {found.count}{more}"]

    def run_txn(self, command: Command) -> list[str]:
        conditions = [self._compare(one) for one in _parts(command.option("if", ""))]
        branches = [
            [self._operation(one) for one in _parts(command.option(name, ""))]
            for name in ("then", "else")
        ]
        request = rpc.TxnRequest(compare=conditions, success=branches[0], failure=branches[1])
        revision, response = self.driver.call(3, request, rpc.TxnResponse)  # type: ignore[arg-type]
        lines = ["then" if response.succeeded else "else"]
        for one in response.responses:
            kind = one.WhichOneof("response")
            if kind == "response_put":
                lines.append("  put")
            elif kind == "response_delete_range":
                lines.append(f"  deleted {one.response_delete_range.deleted}")
            else:
                lines += [f"  {shown(kv)}" for kv in one.response_range.kvs]
                lines.append(f"  count {one.response_range.count}")
        return [*lines, f"revision {revision}"]

    def _compare(self, text: str) -> rpc.Compare:
        target, key, relation, value = text.split()
        compare = rpc.Compare(
            key=key.encode(),
            target=rpc.Compare.CompareTarget.Value(target.upper()),
            result=["=", ">", "<", "!="].index(relation),  # type: ignore[arg-type]
        )
        setattr(compare, TARGETS[target], value.encode() if target == "value" else int(value))
        return compare

    def _operation(self, text: str) -> rpc.RequestOp:
        name, *words = text.split()
        options = dict(word.split("=") for word in words if "=" in word)
        command = Command(name, [word for word in words if "=" not in word], options, False, 0)
        if name == "put":
            return rpc.RequestOp(request_put=self._put(command))
        if name == "del":
            return rpc.RequestOp(request_delete_range=self._delete(command))
        if name == "get":
            return rpc.RequestOp(request_range=self._range(command))
        raise ScriptError(f"no operation {name!r}")

    def run_compact(self, command: Command) -> str:
        self.driver.compact(int(command.argument()))
        return f"compacted {self.driver.machine.store.compact_revision}"

    def run_remove_superseded(self, command: Command) -> str:
        return f"removed {sum(self.driver.machine.store.compact_slices())} versions"

    def run_history(self, command: Command) -> Iterator[str]:
        start = int(command.argument())
        for revision, events in self.driver.machine.store.history(start, limit_revisions=100):
            assert isinstance(events, list)
            for event in events:
                name = "delete" if event.type else "put"
                before = f", before {parse(event.prev).value.decode()!r}" if event.prev else ""
                value = "" if event.type else f" = {parse(event.kv).value.decode()!r}"
                yield f"{revision}.{event.sub} {name} {event.key.decode()}{value}{before}"

    def run_rows(self, command: Command) -> Iterator[str]:
        """Every stored version."""
        for key, kv in self.driver.machine.engine.scan(Family.KEY, b"", None):
            main, sub, tombstone = parse_revision_key(key)
            row = parse(kv)
            yield f"{main}.{sub} " + (f"tombstone {row.key.decode()}" if tombstone else shown(row))

    def run_hash(self, command: Command) -> str:
        found = finish(self.driver.machine.store.hash_kv(int(command.argument("0"))))
        return (
            f"{found.hash:08x} at revision {found.hash_revision}, compacted"
            f" {found.compact_revision}"
        )

    def run_grant(self, command: Command) -> str:
        lease, ttl = int(command.argument()), int(command.option("ttl", "60"))
        self.driver.grant(lease, ttl)
        return f"lease {lease}, {ttl} s"

    def run_revoke(self, command: Command) -> str:
        return f"revision {self.driver.revoke(int(command.argument()))}"

    def run_lease(self, command: Command) -> str:
        lease = self.driver.machine.leases.get(int(command.argument()))
        if lease is None:
            return "no such lease"
        return " ".join(["keys:", *(key.decode() for key in sorted(lease.keys))])

    def run_revision(self, command: Command) -> str:
        store = self.driver.machine.store
        return f"revision {store.revision}, compacted {store.compact_revision}"

    def run_restart(self, command: Command) -> None:
        self.driver.restart()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_store_answers_each_script_as_recorded(script: Path, tmp_path: Path) -> None:
    session = Session(tmp_path / "state")
    try:
        replay(script, session.commands(), Refusal)
    finally:
        session.close()
