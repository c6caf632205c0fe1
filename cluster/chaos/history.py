"""The history of a run: every call with its beginning and end, every watch message, every fault.

Clients append records during the run; the checks read them after it. All times are seconds
since the run began, by one monotonic clock of the test process, so that "ended before the other
began" is exact. A history is saved as JSON lines: {"record": <class name>, ...fields}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """The effect of a call, as far as the client knows."""

    OK = "ok"
    #: It certainly had no effect and never will have one.
    FAILED = "failed"
    #: It may have taken effect, may still do so at any later time, or never.
    UNKNOWN = "unknown"


class Action(StrEnum):
    """The operation of a call on the register `key`, which holds a text or is absent."""

    READ = "read"
    #: Set to `argument` unconditionally.
    WRITE = "write"
    DELETE = "delete"
    #: Set to `argument` if the value is `expected` (None: if absent); `succeeded` tells.
    CAS = "cas"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one key. A txn over several keys is one operation per key with the same `group`.

    A list kept in a value (append workload) is a CAS from the text that was read to that text plus
    one element.
    """

    client: int
    action: Action
    key: str
    #: Endpoint that was called.
    endpoint: str
    invoked: float
    #: None without a response.
    completed: float | None
    outcome: Outcome
    #: Written value.
    argument: str | None = None
    #: CAS: the value compared with.
    expected: str | None = None
    #: READ, outcome ok: the value, None when the key is absent.
    result: str | None = None
    #: CAS, outcome ok.
    succeeded: bool | None = None
    #: READ: serializable; may be stale, and only needs to return some past value.
    serializable: bool = False
    #: Header revision of the answer; 0 unknown.
    revision: int = 0
    #: READ of a present key: its mod_revision and version.
    mod_revision: int = 0
    version: int = 0
    #: Same non-zero number: parts of one txn.
    group: int = 0
    #: The error, for the report.
    error: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch, or one change of the final history."""

    key: str
    #: None: deleted.
    value: str | None
    mod_revision: int
    create_revision: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on a watch.

    `watcher` names one logical watch: after its stream breaks, it continues on the same or another
    member from the revision after the last one received.
    """

    watcher: str
    endpoint: str
    at: float
    #: "created" (again after each break), "events", "progress", "canceled", "broken".
    kind: str
    #: created: start revision; events, progress: header revision.
    revision: int
    changes: tuple[Change, ...] = ()
    error: str = ""
    #: created: all keys with this prefix are watched.
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class LeaseCall:
    """A grant, keepalive, revoke or time-to-live of one lease."""

    client: int
    lease: int
    #: "grant", "keepalive", "revoke", "ttl".
    action: str
    endpoint: str
    invoked: float
    completed: float | None
    outcome: Outcome
    #: grant: requested; keepalive, ttl: in the response (0 or less: ended). Seconds.
    ttl: int = 0
    #: grant: the key that is attached to the lease by a put that follows.
    key: str = ""


@dataclass(frozen=True, slots=True)
class LockHold:
    """The hold of a lock by one client, as its responses say.

    The owner key's create revision is the fencing token; `acquired` is the time of the response,
    `released` the time of the release request (None: never sent, the lease ended, or its outcome is
    unknown). A write under the lock is a txn guarded by that create revision.
    """

    client: int
    lock: str
    lease: int
    token: int
    acquired: float
    released: float | None
    #: mod_revisions of the guarded writes that succeeded.
    writes: tuple[int, ...] = ()
    #: Revision of the delete that released it; 0: unknown or by its lease's end.
    released_at: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, from `began` to `ended` (healed)."""

    number: int
    kind: str
    targets: tuple[str, ...]
    began: float
    ended: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Leadership:
    """The leader from `at` on, as followed by a majority (empty: none was seen)."""

    at: float
    member: str
    term: int


@dataclass(frozen=True, slots=True)
class Final:
    """The final state of a member, after all faults were healed and it had applied everything."""

    member: str
    revision: int
    compact_revision: int
    #: HashKV at the same revision on all members.
    hash: int
    #: Present keys, by a serializable read at that revision: key -> (value, mod_revision, version).
    keys: dict[str, tuple[str, int, int]]
    #: All changes since revision 1 (or the compaction), by a watch on this member, in order.
    changes: tuple[Change, ...]


Record = Operation | Delivery | LeaseCall | LockHold | Fault | Leadership | Final


@dataclass
class History:
    """All records of one run. Appending is safe from several threads."""

    operations: list[Operation] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    leases: list[LeaseCall] = field(default_factory=list)
    locks: list[LockHold] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    leaders: list[Leadership] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    #: Of the run: seed, subject ("rusd", "etcd"), versions, duration, settings.
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        self._list(type(record)).append(record)

    def records(self) -> Iterator[Record]:
        """Return all records, grouped by type."""
        for kind in _KINDS.values():
            yield from self._list(kind)

    def _list(self, kind: type) -> list[Any]:
        lists: dict[type, list[Any]] = {
            Operation: self.operations,
            Delivery: self.deliveries,
            LeaseCall: self.leases,
            LockHold: self.locks,
            Fault: self.faults,
            Leadership: self.leaders,
            Final: self.finals,
        }
        return lists[kind]

    def save(self, path: Path) -> None:
        """Write the history as JSON lines, for `load`."""
        with path.open("w") as file:
            file.write(json.dumps({"record": "about", **self.about}) + "\n")
            for record in self.records():
                line = {"record": type(record).__name__, **asdict(record)}
                file.write(json.dumps(line) + "\n")

    @classmethod
    def load(cls, path: Path) -> History:
        """Load a history. Raises ValueError if the file is not one."""
        history = cls()
        with path.open() as file:
            for number, line in enumerate(file, 1):
                try:
                    fields = json.loads(line)
                    name = fields.pop("record")
                    if name == "about":
                        history.about = fields
                    else:
                        history.add(_restored(_KINDS[name], fields))
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"{path}, line {number}: {error!r}") from error
        return history


_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Operation, Delivery, LeaseCall, LockHold, Fault, Leadership, Final)
}


def _restored(kind: Any, fields: dict[str, Any]) -> Record:
    if "changes" in fields:
        fields["changes"] = tuple(Change(**change) for change in fields["changes"])
    if "keys" in fields:
        fields["keys"] = {key: tuple(one) for key, one in fields["keys"].items()}
    for name in ("targets", "writes"):
        if name in fields:
            fields[name] = tuple(fields[name])
    if "outcome" in fields:
        fields["outcome"] = Outcome(fields["outcome"])
    if kind is Operation:
        fields["action"] = Action(fields["action"])
    record: Record = kind(**fields)
    return record
