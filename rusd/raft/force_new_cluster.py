"""Disaster recovery (`--force-new-cluster`): one member goes on without a quorum.

The last resort after a majority was lost for good. While the member does not run, everything in its
log is applied, also what was never proven to be committed; then ConfChanges are added, as if
committed, that remove all other members. The next start is that of a cluster of one, which others
may join. What a majority had acknowledged without this member is lost: the operator decided so.

Each step is durable before the next. A crash in between leaves a state from which the same call
reaches the same end.
"""

from collections.abc import Callable, Iterable

from rusd.raft.commands import decode_entry, encode_conf_change
from rusd.raft.log.journal import Journal
from rusd.raft.log.reconcile import reconcile
from rusd.raft.ports import Entry, LogEntry, Machine, Position, Request

#: Entries applied at a time.
APPLY_ENTRIES = 64


def force(journal: Journal, machine: Machine, changes: Callable[[], Iterable[bytes]]) -> None:
    """Apply the whole log to `machine`, then the payloads of `changes()`, which is called after the
    log was applied. The journal is flushed and the machine synced on return.
    """
    if reconcile(journal, *machine.positions()):
        journal.settle()
    _apply_rest(journal, machine)
    term = max(journal.getCurrentTerm(), machine.positions()[0].term)
    for payload in changes():
        index = max(journal.last_index, machine.positions()[0].index) + 1
        journal.add(encode_conf_change((0, 0, payload)), index, term)
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
