"""Refusals of the watch room. `rusd/rpc/errors.py` maps them to etcd's errors."""

from rusd.base.errors import Refusal


class TooManyUnread(Refusal):
    """A client sends requests on a stream without reading their responses."""

    reason = "too many answers are unread"
