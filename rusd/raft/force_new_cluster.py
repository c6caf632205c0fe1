"""Going on without a quorum (`--force-new-cluster`): what one member holds becomes the truth.

The last resort after a majority was lost for good. While the member does not run, everything in its
log is applied, also what was never proven to be committed; then entries are added, as if agreed
upon, that remove everybody else. The next start is that of a cluster of one, which others may join.
Whatever a majority had acknowledged without this member is lost: that is what the operator decided.

Every step is durable before the next, and done again to the same end if it is cut off.
"""

from collections.abc import Callable, Iterable

from rusd.raft.core.proposals import decode_entry, encode_change
from rusd.raft.core.syncobj import APPLY_ENTRIES, seat
from rusd.raft.log.journal import Journal, LogEntry
from rusd.raft.ports import Entry, Machine, Position, Request


def force(journal: Journal, machine: Machine, changes: Callable[[], Iterable[bytes]]) -> None:
    """Apply the whole log to `machine`, then the payloads that `changes()` gives, which is called
    in between. The journal is flushed and the machine synced when this returns."""
    seat(journal, *machine.positions())
    _apply_rest(journal, machine)
    term = max(journal.getCurrentTerm(), machine.positions()[0].term)
    for payload in changes():
        index = max(journal.last_index, machine.positions()[0].index) + 1
        journal.add(encode_change((0, 0, payload)), index, term)
    journal.flush()
    _apply_rest(journal, machine)
    machine.sync()


def _apply_rest(journal: Journal, machine: Machine) -> None:
    while entries := _following(journal, machine.positions()[0].index):
        machine.apply(
            [
                Entry(
                    Position(index, term),
                    [Request(payload, False) for _, _, payload in decode_entry(command)],
                )
                for command, index, term in entries
            ]
        )


def _following(journal: Journal, index: int) -> list[LogEntry]:
    return list(journal.entries(index + 1, index + 1 + APPLY_ENTRIES))
