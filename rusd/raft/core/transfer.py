"""Leadership transfer (Raft thesis 3.10): the target campaigns once it holds the whole log.

Meanwhile nothing is appended, for one election timeout at most, so that the target can catch up.
The request is repeated once per election timeout, for it may be lost or the election split.
"""

from collections.abc import Callable

from rusd.base.errors import Refusal
from rusd.raft.core.algorithm import Algorithm
from rusd.raft.core.outbox import Outbox
from rusd.raft.core.ready import Answer
from rusd.raft.errors import TransferTimeout
from rusd.raft.transport.frames import TimeoutNow


class Transfer:
    """One request to transfer leadership."""

    def __init__(
        self, target: int, term: int, done: Callable[[object], None], now: float, timeout: float
    ) -> None:
        self.target = target
        self.term = term
        self.done = done
        self.began = now
        self.deadline = now + timeout
        self.asked = float("-inf")


class LeadershipTransfer:
    """The transfers in progress."""

    def __init__(self, raft: Algorithm, outbox: Outbox, *, election: float, timeout: float) -> None:
        """`election`: the election timeout; `timeout`: after which a transfer fails. Both in
        seconds.
        """
        self._raft = raft
        self._outbox = outbox
        self._election = election
        self._timeout = timeout
        self._transfers: list[Transfer] = []

    def begin(self, target: int, done: Callable[[object], None], now: float) -> Transfer:
        """Transfer leadership to `target`, a voter; `done` receives None or TransferTimeout."""
        transfer = Transfer(target, self._raft.term, done, now, self._timeout)
        self._transfers.append(transfer)
        return transfer

    def abandon(self, transfer: Transfer) -> None:
        """Forget a transfer whose caller was cancelled."""
        if transfer in self._transfers:
            self._transfers.remove(transfer)

    def fail(self, error: type[Refusal]) -> list[Answer]:
        """Fail all transfers."""
        transfers, self._transfers = self._transfers, []
        return [(transfer.done, error()) for transfer in transfers]

    @property
    def active(self) -> bool:
        """Whether transfers are in progress."""
        return bool(self._transfers)

    def paused(self, now: float) -> bool:
        """Return whether nothing is appended now."""
        return self.active and any(
            now <= transfer.began + self._election for transfer in self._transfers
        )

    def step(self, now: float) -> list[Answer]:
        """Send TimeoutNow to targets that hold the whole log. Returns the answers of ended
        transfers.
        """
        raft = self._raft
        answers: list[Answer] = []
        for transfer in list(self._transfers):
            if raft.term != transfer.term and raft.leader:
                won = raft.leader == transfer.target
                # (Another member may win. etcd waits for the target until its timeout.)
                answers.append((transfer.done, None if won else TransferTimeout()))
                self._transfers.remove(transfer)
            elif now > transfer.deadline:
                answers.append((transfer.done, TransferTimeout()))
                self._transfers.remove(transfer)
            elif (
                raft.is_leader
                and raft.match_index(transfer.target) == raft.log.last_index
                and now - transfer.asked > self._election
            ):
                transfer.asked = now
                self._outbox.send(transfer.target, TimeoutNow(transfer.term))
        return answers
