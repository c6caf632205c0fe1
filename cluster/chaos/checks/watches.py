"""Watches deliver the final history in order, once, without a gap, also across reconnects.

Each watcher is followed message by message. `position` is the revision up to which it must have
received all events: the revision before its start revision, then that of the last event or of the
last progress notification.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from ..history import Change, Delivery, History
from . import describe
from .timeline import Timeline
from .verdict import Findings, Verdict

#: Missing revisions listed for a gap.
_LISTED = 5


def check(history: History) -> Verdict:
    """Check that every watcher saw every event once and in order."""
    findings = Findings("watches", "messages")
    messages: dict[str, list[Delivery]] = defaultdict(list)
    for message in history.deliveries:
        messages[message.watcher].append(message)
    findings.checked = len(history.deliveries)
    timeline = Timeline.of(history)
    if timeline is None and messages:
        findings.doubt("no member's final history was recorded")
    events = 0
    for name, told in messages.items():
        follower = _Follower(name, findings, timeline)
        for message in told:
            follower.receive(message)
        events += follower.events
    findings.note(f"{len(messages):,} watchers, {events:,} events")
    return findings.verdict()


@dataclass
class _Follower:
    name: str
    findings: Findings
    timeline: Timeline | None
    prefix: str = ""
    #: None: the start revision is unknown, and no event was received yet.
    position: int | None = None
    #: Revision of the last progress notification: all events up to it were delivered.
    promised: int = 0
    started: bool = False
    may_jump: bool = True
    events: int = 0
    #: Keys delivered at revision `position`, to tell a repetition from a revision in two messages.
    last_keys: frozenset[str] = field(default_factory=frozenset)

    def receive(self, message: Delivery) -> None:
        if message.kind == "created":
            self._created(message)
        elif message.kind == "canceled":
            self.may_jump = True  # By a compaction, say: compacted events cannot be requested.
        elif message.kind == "events":
            self._events(message)
        elif message.kind == "progress":
            self._progress(message)

    def _created(self, message: Delivery) -> None:
        if message.prefix:
            self.prefix = message.prefix
        asked = message.revision - 1 if message.revision > 0 else None
        if not self.started or self.may_jump or self.position is None:
            self.position = asked
        elif asked is None or asked > self.position:
            self._problem(
                f"does not go on where it was: it had heard all up to revision {self.position}",
                message,
            )
            self.position = asked
        elif asked < self.position:
            # The new stream starts at an earlier revision.
            self.position, self.promised = asked, 0
        self.started, self.may_jump = True, False
        self.last_keys = frozenset()

    def _events(self, message: Delivery) -> None:
        self.events += len(message.changes)
        for revision, group in groupby(message.changes, key=lambda change: change.mod_revision):
            changes = list(group)
            position = self.position
            if position is None:
                position = revision - 1
            if revision <= position:
                self._backwards(revision, position, changes, message)
                continue
            self._check_no_gap(position, revision - 1, message)
            self._check_complete(revision, changes, message)
            self.position = revision
            self.last_keys = frozenset(change.key for change in changes)

    def _backwards(
        self, revision: int, position: int, changes: list[Change], message: Delivery
    ) -> None:
        keys = {change.key for change in changes}
        if revision == position and self.last_keys and not keys & self.last_keys:
            text = f"hears revision {revision} in two parts"
            self.last_keys |= keys
        elif revision <= self.promised:
            text = f"hears revision {revision} after progress promised all up to {self.promised}"
        else:
            text = f"hears revision {revision} again or out of order, after revision {position}"
        self._problem(text, message, (_change(change) for change in changes))

    def _check_no_gap(self, after: int, upto: int, message: Delivery) -> None:
        """Check that no event for this watcher lies between two revisions."""
        if self.timeline is None:
            return
        missed = [
            change
            for revision in self.timeline.between(after, upto)
            for change in self.timeline.by_revision[revision].values()
            if change.key.startswith(self.prefix)
        ]
        if missed:
            listed = [f"missed: {_change(change)}" for change in missed[:_LISTED]]
            if len(missed) > _LISTED:
                listed.append(f"… and {len(missed) - _LISTED} more")
            self._problem(
                f"is told of revision {upto + 1} with {len(missed)} changes after revision "
                f"{after} left out"
                if message.kind == "events"
                else f"is promised all up to {upto} with {len(missed)} changes left out",
                message,
                listed,
            )

    def _check_complete(self, revision: int, changes: list[Change], message: Delivery) -> None:
        """Check that all changes of this revision were delivered, as in the final history."""
        timeline = self.timeline
        if timeline is None or revision <= timeline.horizon:
            return
        if revision > timeline.last:
            self._problem(
                f"hears revision {revision}, but the history of {timeline.member} ends at "
                f"{timeline.last}",
                message,
                (_change(change) for change in changes),
            )
            return
        expected = {
            key: change
            for key, change in timeline.by_revision.get(revision, {}).items()
            if key.startswith(self.prefix)
        }
        told = {change.key: change for change in changes}
        if len(told) < len(changes):
            self._problem(f"hears a key twice in revision {revision}", message)
        if told.keys() < expected.keys():
            self._problem(
                f"hears only part of revision {revision} in one message",
                message,
                (f"left out: {_change(expected[key])}" for key in expected.keys() - told.keys()),
            )
        else:
            for key, change in told.items():
                if key not in expected or not _same(change, expected[key]):
                    there = _change(expected[key]) if key in expected else "nothing of this key"
                    self._problem(
                        f"hears of a change at revision {revision} that is not in the history",
                        message,
                        [f"told: {_change(change)}", f"in the history: {there}"],
                    )

    def _progress(self, message: Delivery) -> None:
        revision = message.revision
        if self.position is None:
            self.position = revision
        elif revision > self.position:
            self._check_no_gap(self.position, revision, message)
            self.position = revision
            self.last_keys = frozenset()
        self.promised = max(self.promised, revision)

    def _problem(self, what: str, message: Delivery, evidence: Iterable[str] = ()) -> None:
        header = f"[{message.at:.6f} s] {message.kind} from {message.endpoint}, "
        header += f"revision {message.revision}, {len(message.changes)} changes"
        lines = [header, *evidence]
        self.findings.problem(f"watcher {self.name} {what}", lines)


def _same(told: Change, expected: Change) -> bool:
    """Return whether two changes agree in every field that both have."""
    if told.value != expected.value:
        return False
    known = (
        (told.create_revision, expected.create_revision),
        (told.version, expected.version),
    )
    return all(mine == theirs for mine, theirs in known if mine and theirs)


def _change(change: Change) -> str:
    text = f"{change.key} = {describe.value(change.value)} at revision {change.mod_revision}"
    if change.version:
        text += f" (created at {change.create_revision}, version {change.version})"
    return text
