"""The final history, indexed by key and revision.

All members should end with the same changes (`members` checks that). The other checks use the
member with the longest history; if members differ, `members` already fails.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from ..history import Change, Final, History


class Timeline:
    """Changes by key and by revision.

    Complete after `horizon`, the highest compacted revision: values at or before it are not known.
    `last` is the revision at the end.
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
        """Build the timeline; None if no member's final state was recorded."""
        return cls(history.finals) if history.finals else None

    def knows(self, key: str, revision: int) -> bool:
        """Return whether `at` is certain: no compacted change can affect this key and revision."""
        if revision > self.last:
            return False
        changed = self._revisions_of.get(key)
        return not self.horizon or (changed is not None and changed[0] <= revision)

    def at(self, key: str, revision: int) -> Change | None:
        """Return the latest change of the key up to this revision; None if there was none."""
        changed = self._revisions_of.get(key, [])
        index = bisect_right(changed, revision)
        return self.by_key[key][index - 1] if index else None

    def value_at(self, key: str, revision: int) -> str | None:
        """Return the value of the key at this revision; None if absent."""
        change = self.at(key, revision)
        return change.value if change else None

    def between(self, after: int, upto: int) -> list[int]:
        """Return revisions with changes, after < revision <= upto."""
        return self.revisions[
            bisect_right(self.revisions, after) : bisect_right(self.revisions, upto)
        ]
