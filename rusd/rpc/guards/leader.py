"""Metadata `hasleader: true`: clients that would rather move on than stay with a lost member.

Such a call is refused while the member knows no leader; a long-lived stream that carried it is
ended once the member has been without a leader for the time given as `patience`. etcd waits three
election timeouts, since setting up many streams again costs more than a short election.
"""

from collections.abc import Callable

from rusd.rpc import errors
from rusd.rpc.call import Call
from rusd.rpc.streams import ResponseStream
from rusd.watch.ports import Loop, Timer

#: How many election timeouts a stream outlives the leader.
PATIENCE_IN_ELECTIONS = 3


class RequireLeader:
    """Knows the streams that asked for a leader, and listens to who leads."""

    def __init__(self, loop: Loop, leader: Callable[[], int], patience: float) -> None:
        """`leader` gives the leader's member id or 0; `patience` is in seconds."""
        self._loop = loop
        self._leader = leader
        self._patience = patience
        self._streams: dict[ResponseStream, None] = {}
        self._timer: Timer | None = None

    def check(self, call: Call) -> None:
        """Raise `errors.NO_LEADER` if the call asks for a leader and there is none."""
        if _asked(call) and not self._leader():
            raise errors.NO_LEADER

    def enter(self, call: Call, responses: ResponseStream) -> None:
        """A stream opens: `check` it, and end it later if the leader is lost for long."""
        self.check(call)
        if _asked(call):
            self._streams[responses] = None

    def leave(self, responses: ResponseStream) -> None:
        """The stream is over."""
        self._streams.pop(responses, None)

    def on_role(self, leader_id: int, term: int, is_leader: bool) -> None:
        """A `rusd.raft.ports.RoleListener`."""
        if leader_id == 0 and self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._give_up)
        elif leader_id != 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        streams, self._streams = self._streams, {}
        for responses in streams:
            responses.finish(errors.NO_LEADER)


def _asked(call: Call) -> bool:
    return call.metadata.get("hasleader") == "true"
