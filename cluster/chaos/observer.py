"""Records the leader during the run, by asking the members."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from rusd.proto import rpc_pb2 as rpc

from .connection import Connections, Failure
from .history import History, Leadership

#: Seconds between two polls, and for each response.
INTERVAL = 0.2
PATIENCE = 0.2


class Observer:
    """Records each change of the leader that a majority follows."""

    def __init__(
        self,
        names: Sequence[str],
        connections: Connections,
        history: History,
        clock: Callable[[], float],
    ) -> None:
        self._names = names
        self._connections = connections
        self._history = history
        self._clock = clock
        self._ids: dict[int, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Name of the leader, empty: none.
        self.leader = ""
        self._term = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL):
            followed: Counter[tuple[int, int]] = Counter()
            for member, name in enumerate(self._names):
                status = self._status(member)
                if status is not None:
                    self._ids[status.header.member_id] = name
                    if status.leader:
                        followed[status.leader, status.raftTerm] += 1
            self._note(followed)

    def _note(self, followed: Counter[tuple[int, int]]) -> None:
        name, term = "", self._term
        for (leader, its_term), count in followed.items():
            if 2 * count > len(self._names):
                name, term = self._ids.get(leader, ""), its_term
        if (name, term) != (self.leader, self._term):
            self.leader, self._term = name, term
            self._history.add(Leadership(self._clock(), name, term))

    def _status(self, member: int) -> rpc.StatusResponse | None:
        path = "/etcdserverpb.Maintenance/Status"
        try:
            return self._connections.call(
                member, path, rpc.StatusRequest(), rpc.StatusResponse, PATIENCE
            )
        except Failure:
            return None
