"""Makes the log continue from the state machine's position, at start and behind a snapshot.

A log that reaches the position with the same term keeps its tail; any other is older than the state
(which a quorum committed) and is replaced by stand-ins for the state's last two entries.
"""

from rusd.raft.commands import STAND_IN
from rusd.raft.log.journal import Journal, JournalError
from rusd.raft.ports import Position


def reconcile(journal: Journal, last: Position, before: Position) -> bool:
    """Make the log continue from `last`, the position behind `before`; returns whether the log
    had to be replaced, which is durable after `Journal.settle`. Raises JournalError if state and
    log cannot belong together.
    """
    if journal.term_at(last.index) == last.term or (last.index == 1 and not len(journal)):
        return False
    if not len(journal) and not journal.getCurrentTerm():
        # (Without entries but with a term it is a write of `seat` that a crash tore.)
        raise JournalError(
            f"{journal.directory} holds no log, but the state beside it ends at entry "
            f"{last.index}: the log, with this member's votes, was lost"
        )
    if journal.first_index > last.index:
        raise JournalError(
            f"the log in {journal.directory} begins at entry {journal.first_index}, the state ends "
            f"at {last.index}: applied state was lost"
        )
    journal.reset_to((STAND_IN, *before), (STAND_IN, *last))
    return True
