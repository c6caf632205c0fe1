"""Histories for tests, told call by call.

    story = Story()
    story.write("k", "a", 1, 2)      # client 0 wrote "a" between second 1 and 2
    story.read("k", "a", 3, 4)
    history = story.end()

The story keeps a true register store by the order in which it is told: writes get the next
revision, reads the current one, and `end` records three members that agree on it. A test makes a
history wrong by overriding an answer, or by changing the finals (`members=`, `replace`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.chaos.history import (
    Action,
    Change,
    Delivery,
    Final,
    History,
    Operation,
    Outcome,
)

MEMBERS = ("m1", "m2", "m3")


class Story:
    def __init__(self) -> None:
        self.history = History()
        self.revision = 1
        self.changes: list[Change] = []
        self.now: dict[str, Change] = {}

    # --- calls ---------------------------------------------------------------------------------

    def write(self, key: str, value: str, begin: float, end: float, **more: Any) -> Operation:
        if "revision" not in more:
            more["revision"] = self.change(key, value)
        return self.add(Action.WRITE, key, begin, end, argument=value, **more)

    def delete(self, key: str, begin: float, end: float, **more: Any) -> Operation:
        if "revision" not in more:
            more["revision"] = self.change(key, None)
        return self.add(Action.DELETE, key, begin, end, **more)

    def read(self, key: str, value: str | None, begin: float, end: float, **more: Any) -> Operation:
        more.setdefault("revision", self.revision)
        return self.add(Action.READ, key, begin, end, result=value, **more)

    def swap(
        self, key: str, expected: str | None, value: str, begin: float, end: float, **more: Any
    ) -> Operation:
        """A compare-and-swap that succeeded."""
        if "revision" not in more:
            more["revision"] = self.change(key, value)
        return self.add(
            Action.CAS, key, begin, end, expected=expected, argument=value, succeeded=True, **more
        )

    def refused(
        self, key: str, expected: str | None, value: str, begin: float, end: float, **more: Any
    ) -> Operation:
        more.setdefault("revision", self.revision)
        return self.add(
            Action.CAS, key, begin, end, expected=expected, argument=value, succeeded=False, **more
        )

    def unknown(self, action: Action, key: str, begin: float, **more: Any) -> Operation:
        """A call without an answer; `change` tells when it took effect, if it did."""
        return self.add(action, key, begin, None, outcome=Outcome.UNKNOWN, **more)

    def failed(self, action: Action, key: str, begin: float, end: float, **more: Any) -> Operation:
        return self.add(action, key, begin, end, outcome=Outcome.FAILED, **more)

    def add(
        self, action: Action, key: str, begin: float, end: float | None, **more: Any
    ) -> Operation:
        fields = {"client": 0, "endpoint": "m1", "outcome": Outcome.OK, **more}
        op = Operation(action=action, key=key, invoked=begin, completed=end, **fields)
        self.history.add(op)
        return op

    # --- what the store did --------------------------------------------------------------------

    def change(self, key: str, value: str | None) -> int:
        """One change at the next revision, which is returned."""
        return self.together({key: value})

    def together(self, values: dict[str, str | None]) -> int:
        """Changes of one txn."""
        self.revision += 1
        for key, value in values.items():
            before = self.now.get(key)
            if value is None:
                change = Change(key, None, self.revision)
            elif before is None or before.value is None:
                change = Change(key, value, self.revision, self.revision, 1)
            else:
                created = before.create_revision
                change = Change(key, value, self.revision, created, before.version + 1)
            self.now[key] = change
            self.changes.append(change)
        return self.revision

    # --- watches -------------------------------------------------------------------------------

    def created(self, revision: int, at: float = 0, **more: Any) -> None:
        self.message("created", revision, at, **more)

    def events(self, *changes: Change, at: float = 0, **more: Any) -> None:
        self.message("events", self.revision, at, changes=changes, **more)

    def message(self, kind: str, revision: int, at: float = 0, **more: Any) -> None:
        fields = {"watcher": "w", "endpoint": "m1", **more}
        self.history.add(Delivery(at=at, kind=kind, revision=revision, **fields))

    # --- the end -------------------------------------------------------------------------------

    def final(self, member: str) -> Final:
        keys = {
            key: (change.value, change.mod_revision, change.version)
            for key, change in self.now.items()
            if change.value is not None
        }
        return Final(member, self.revision, 0, 42, keys, tuple(self.changes))

    def end(self, **changed: Any) -> History:
        """The history, with the end of all members; `changed` fields differ on all of them."""
        for member in MEMBERS:
            self.history.add(replace(self.final(member), **changed))
        return self.history
