"""The strict reconfiguration check (`--strict-reconfig-check`), before a change is proposed.

Refuses a change that would leave too few started members for a quorum, and one after which the
members that this one has been connected to for HEALTH_INTERVAL would not be a quorum. Both judge
what this member sees: they prevent operator mistakes and are not needed for the safety of the log.
Source: `mayAddMember`, `mayRemoveMember` and `mayPromoteMember` of etcd's server, 3.6.14 and later.
"""

from collections.abc import Callable, Iterable

from rusd.rpc.errors import MEMBER_NOT_ENOUGH_STARTED, UNHEALTHY
from rusd.state.members import Member, Members

#: Seconds that a connection must have lasted to count (etcd's HealthInterval).
HEALTH_INTERVAL = 5.0

#: Member id -> seconds at which its connection was made; None without one.
ConnectedSince = Callable[[int], float | None]


class StrictReconfigCheck:
    """The checks of one member."""

    def __init__(self, member_id: int, members: Members, connected_since: ConnectedSince) -> None:
        self._member_id = member_id
        self._members = members
        self._connected_since = connected_since

    def addition(self, learner: bool, now: float) -> None:
        """Raises MEMBER_NOT_ENOUGH_STARTED or UNHEALTHY. `now`: seconds by the clock of
        `connected_since`.

        The quorum counts the new member, also a learner, which does not count as connected. A
        member may always be added to a single voter.
        """
        voters = self._voters()
        started = _started(voters)
        if not learner and not (started == len(voters) == 1):
            _require_quorum(started, len(voters) + 1)
        if len(voters) > 1 and self._active(voters, now) < _quorum(len(voters) + 1):
            raise UNHEALTHY()

    def removal(self, member_id: int, now: float) -> None:
        """Raises as `addition`. Learners and unknown members may always be removed."""
        member = self._members.get(member_id)
        if member is not None and member.is_learner:
            return
        voters = self._voters()
        left = [one for one in voters if one.id != member_id]
        _require_quorum(_started(left), len(left))
        if member_id != self._member_id and self._connected_since(member_id) is None:
            return
        if self._active(voters, now) - 1 < _quorum(len(voters) - 1):
            raise UNHEALTHY()

    def promotion(self) -> None:
        """Raises MEMBER_NOT_ENOUGH_STARTED."""
        voters = self._voters()
        _require_quorum(_started(voters) + 1, len(voters) + 1)

    def _voters(self) -> list[Member]:
        return [member for member in self._members if not member.is_learner]

    def _active(self, voters: Iterable[Member], now: float) -> int:
        def active(member: Member) -> bool:
            since = self._connected_since(member.id)
            return member.id == self._member_id or (
                since is not None and now - since > HEALTH_INTERVAL
            )

        return sum(map(active, voters))


def _started(members: Iterable[Member]) -> int:
    return sum(bool(member.name) for member in members)


def _quorum(voters: int) -> int:
    return voters // 2 + 1


def _require_quorum(started: int, voters: int) -> None:
    if started < _quorum(voters):
        raise MEMBER_NOT_ENOUGH_STARTED()
