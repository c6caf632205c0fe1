"""`Refusal`: the base of every error that refuses one request and leaves everything else in order.

A room defines its refusals in its own `errors.py` and raises a new instance each time: an instance
that all raisers share would gather the traceback of each, and with it every request so refused.
`rusd/rpc/errors.py` gives each class its gRPC status code and etcd's text. Every other exception is
a fault of the program or of its surroundings.
"""

from typing import ClassVar


class Refusal(Exception):
    """A request that cannot be done; it has changed nothing unless the class says otherwise."""

    #: Text for logs, unless the instance was made with one of its own.
    reason: ClassVar[str] = ""

    def __str__(self) -> str:
        return super().__str__() or self.reason
