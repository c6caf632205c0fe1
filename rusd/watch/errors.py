"""Refusals of the watch room. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class TooManyUnread(Refusal):
    """A client goes on sending requests on a stream and does not read their answers."""

    reason = "too many answers are unread"
