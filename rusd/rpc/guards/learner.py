"""Restricts a learner to the methods etcd allows: it may be far behind, and has no vote.

A learner serves Status and serializable ranges, and of the streams Snapshot. The table that the
door holds is swapped when the member's role changes, so that a voter's calls pay nothing.
"""

from dataclasses import replace
from typing import Any, NoReturn

from rusd.rpc.call import Call
from rusd.rpc.errors import NOT_SUPPORTED_FOR_LEARNER
from rusd.rpc.methods import BidiStream, Method, Methods, ServerStream
from rusd.rpc.requirements import OnLearner, Requirements
from rusd.rpc.responses import Response


class LearnerRestriction:
    """Refuses with NOT_SUPPORTED_FOR_LEARNER; wraps a learner's table only."""

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """See `Guard`."""
        if requirements.on_learner is OnLearner.SERVED:
            return method
        if isinstance(method, ServerStream):
            return replace(method, open=_refuse)
        if isinstance(method, BidiStream):
            return replace(method, open=_refuse)
        if requirements.on_learner is not OnLearner.SERIALIZABLE:
            return replace(method, call=_refuse)
        run = method.call

        def call(request: Any, call: Call) -> Response:
            return run(request, call) if request.serializable else _refuse()

        return replace(method, call=call)


class RoleMethods:
    """The table of methods that the door serves, by this member's role."""

    def __init__(self, voter: Methods, learner: Methods) -> None:
        """Serves `voter` at first."""
        self._voter = voter
        self._learner = learner
        #: The door's table: its content changes, the object does not.
        self.served = dict(voter)

    def set_learner(self, is_learner: bool) -> None:
        """Serve the table of a learner, or of a voter, from now on."""
        self.served.update(self._learner if is_learner else self._voter)


def _refuse(*_: object) -> NoReturn:
    raise NOT_SUPPORTED_FOR_LEARNER()
