"""What a learner serves: little, for it may be far behind and answers for nobody.

As etcd does, a learner refuses every unary call but Status and serializable ranges, and every
stream but Snapshot. The table of methods the door holds is changed when the role does, so that
calls of a voter cost nothing more.
"""

from typing import Any, NoReturn

from rusd.rpc.call import Call
from rusd.rpc.errors import NOT_SUPPORTED_FOR_LEARNER
from rusd.rpc.methods import BidiStream, Method, Methods, ServerStream, Unary
from rusd.rpc.responses import Response

_STATUS = "/etcdserverpb.Maintenance/Status"
_RANGE = "/etcdserverpb.KV/Range"
_SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"


class RoleMethods:
    """One member's methods, by the role it has."""

    def __init__(self, methods: Methods) -> None:
        self._all = dict(methods)
        #: What the door serves: the same object for life.
        self.served = dict(methods)

    def learner(self, is_learner: bool) -> None:
        """This member is a learner now, or is none."""
        self.served.update(
            {path: _restricted(path, method) for path, method in self._all.items()}
            if is_learner
            else self._all
        )


def _restricted(path: str, method: Method) -> Method:
    """What a learner makes of a method."""
    if path in (_STATUS, _SNAPSHOT):
        return method
    if path == _RANGE and isinstance(method, Unary):
        return Unary(method.request, _Serializable(method))
    if isinstance(method, Unary):
        return Unary(method.request, _refuse)
    if isinstance(method, ServerStream):
        return ServerStream(method.request, _refuse)
    return BidiStream(method.request, _refuse)


class _Serializable:
    """A range that asks for no more than this member's own state."""

    def __init__(self, method: Unary) -> None:
        self._call = method.call

    def __call__(self, request: Any, call: Call) -> Response:
        return self._call(request, call) if request.serializable else _refuse()


def _refuse(*_: object) -> NoReturn:
    raise NOT_SUPPORTED_FOR_LEARNER
