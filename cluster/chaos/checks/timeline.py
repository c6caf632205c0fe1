"""The final history, indexed: what each key was at each revision.

All members should end with the same changes (`members` checks that). The other checks follow the
member with the longest history; where members differ, that verdict already fails.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from ..history import Change, Final, History


class Timeline:
    """Changes by key and by revision.

    Complete behind `horizon`, the highest compacted revision: at or before it, what a key was is
    not known. `last` is the revision at the end.
    """

    def __init__(self, finals: list[Final]) -> None:
        longest = max(finals, key=lambda final: (final.revision, len(final.changes)))
        self.member = longest.member
        self.horizon = max(final.compact_revision for final in finals)
        self.last = longest.revision
        self.keys = longest.keys
        self.changes = [change for change in longest.changes if change.mod_revision > self.horizon]
        self.by_revision: dict[int, dict[str, Change]] = defaultdict(dict)
        self.by_key: dict[str, list[Change]] = defaultdict(list)
        for change in sorted(self.changes, key=lambda change: change.mod_revision):
            self.by_revision[change.mod_revision][change.key] = change
            self.by_key[change.key].append(change)
        self.revisions = sorted(self.by_revision)
        self._revisions_of = {
            key: [change.mod_revision for change in changes] for key, changes in self.by_key.items()
        }

    @classmethod
    def of(cls, history: History) -> Timeline | None:
        """None when no member's end was recorded."""
        return cls(history.finals) if history.finals else None

    def knows(self, key: str, revision: int) -> bool:
        """Whether `at` can tell: nothing compacted away matters for this key at this revision."""
        if revision > self.last:
            return False
        changed = self._revisions_of.get(key)
        return not self.horizon or (changed is not None and changed[0] <= revision)

    def at(self, key: str, revision: int) -> Change | None:
        """The change that made the key what it was at this revision; None: it was never there."""
        changed = self._revisions_of.get(key, [])
        index = bisect_right(changed, revision)
        return self.by_key[key][index - 1] if index else None

    def value_at(self, key: str, revision: int) -> str | None:
        change = self.at(key, revision)
        return change.value if change else None

    def between(self, after: int, upto: int) -> list[int]:
        """Revisions with changes, after < revision <= upto."""
        return self.revisions[
            bisect_right(self.revisions, after) : bisect_right(self.revisions, upto)
        ]
