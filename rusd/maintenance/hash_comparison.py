"""Finds the members whose data differs, by the checksums of their keys.

A HashKV covers all versions readable at one revision, without those that a compaction removed. So
the hashes of two members at one revision are comparable only if both compacted to the same
revision. The rules are those of etcd's corruption checker. No I/O: `corruption_check.py` sends the
requests and raises the alarm.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

#: Member id of an alarm for the whole cluster: which member is right is unknown.
ALL_MEMBERS = 0


class KeysHash(NamedTuple):
    """The hash of one member's keys at a revision."""

    hash: int
    #: Revision the hash is of.
    revision: int
    compact_revision: int
    #: Revision the member was at.
    current_revision: int


def differing(own: KeysHash, others: Mapping[int, KeysHash]) -> list[int]:
    """Return the members whose keys differ from this member's at `own.revision`."""
    return [
        member
        for member, other in others.items()
        if other.compact_revision == own.compact_revision and other.hash != own.hash
    ]


def corrupt(
    leader: int, before: KeysHash, after: KeysHash, others: Mapping[int, KeysHash]
) -> int | None:
    """Return the member that a leader's periodic check finds corrupt, None if there is none.

    `before` and `after`: the leader's own hashes, taken before and after the other members gave
    theirs at `before.revision`; in between the leader confirmed its leadership with a quorum.
    """
    if after[:3] != before[:3] and after[1:3] == before[1:3]:
        return leader
    for member, other in others.items():
        if (
            other.current_revision > after.current_revision
            or other.compact_revision > after.compact_revision
            or (other.compact_revision == before.compact_revision and other.hash != before.hash)
        ):
            return member
    return None


class Verdict(NamedTuple):
    """Result of a comparison at a compacted revision."""

    #: Members to name in an alarm; ALL_MEMBERS if no majority agrees.
    corrupt: Sequence[int]
    #: Whether all members were compared.
    complete: bool


def compacted(leader: int, own: KeysHash, others: Mapping[int, KeysHash | None]) -> Verdict:
    """Compare hashes at a revision to which all members may have compacted; None: no result."""
    groups: dict[int, list[int]] = {own.hash: [leader]}
    compared = 0
    for member, other in others.items():
        if other is not None and other.compact_revision == own.compact_revision:
            compared += 1
            groups.setdefault(other.hash, []).append(member)
    if len(groups) == 1:
        return Verdict((), compared == len(others))
    quorum = (len(others) + 1) // 2 + 1
    right = next((value for value, members in groups.items() if len(members) >= quorum), None)
    if right is None:
        return Verdict((ALL_MEMBERS,), True)
    del groups[right]
    return Verdict(sorted(chain.from_iterable(groups.values())), True)
