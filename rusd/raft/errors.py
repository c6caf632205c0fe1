"""Refusals of the Raft room, in its own terms. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class Stopped(Refusal):
    """The node has stopped, or failed. A proposal may still be applied by the other members."""

    reason = "the Raft node has stopped"


class TooManyProposals(Refusal):
    """The queue of proposals is full, or applying lags too far behind the commit index."""

    reason = "too many proposals are waiting"


class TooManyReads(Refusal):
    """The maximum number of linearizable reads waits for its read index."""

    reason = "too many reads are waiting"


class TooManyQuestions(Refusal):
    """This member serves its maximum of requests of other members, and takes no further one."""

    reason = "too many questions are waiting"


class TooLarge(Refusal):
    """A proposal, or a request to another member, is larger than a frame."""

    reason = "larger than a frame between members"


class RequestTimeout(Refusal):
    """No result before the deadline. A proposal may still be applied later."""

    reason = "timed out"


class LeaderFailed(RequestTimeout):
    """A request timed out that was sent to a leader which is not known to lead now."""

    reason = "timed out, possibly because the leader failed"


class ConnectionLost(Refusal):
    """The connection to a member broke before its response."""

    reason = "the connection was lost"


class NotLeader(Refusal):
    """Only the leader can transfer leadership."""

    reason = "not the leader"


class BadTransferee(Refusal):
    """The target of a leadership transfer has no vote."""

    reason = "not a voter"


class TransferTimeout(Refusal):
    """Leadership did not pass to the requested member; another one may lead now."""

    reason = "leadership was not transferred in time"


class UnknownQuestion(Refusal):
    """A member of another release sends a request that this release does not serve."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"no such question: {kind}")


class MalformedQuestion(Refusal):
    """The body of another member's request cannot be decoded."""

    reason = "malformed request of a member"


class MalformedAnswer(Refusal):
    """The body of another member's response cannot be decoded."""

    reason = "malformed answer of a member"


class AnswerTooLarge(Refusal):
    """The response to a member's request is larger than a frame."""

    reason = "the answer is too large"


class AnsweredWithError(Refusal):
    """A member answered a question with an error: a status code and a text.

    They are written and read by the rooms above (`ports.Describe`); Raft only carries them.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
