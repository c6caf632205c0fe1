"""Dispatch of a proposal to its handler, by its first byte."""

from collections.abc import Generator, Mapping
from types import GeneratorType
from typing import Any

from google.protobuf.message import DecodeError

from rusd.auth.records import ANONYMOUS
from rusd.auth.store import AuthStore
from rusd.base.errors import Refusal
from rusd.base.logs import get_logger
from rusd.mvcc.store import Writer
from rusd.state.command import Kind, unsign
from rusd.state.context import Handler, Work
from rusd.state.errors import Undecodable
from rusd.state.result import Applied

log = get_logger(__name__)


class Commands:
    """Applies proposals of every kind."""

    def __init__(self, handlers: Mapping[int, Handler], auth: AuthStore) -> None:
        self._handlers = handlers
        self._auth = auth

    def apply(self, writer: Writer, payload: bytes, wanted: bool) -> Applied | Refusal | Work:
        """Apply one proposal.

        Returns its result; the error if it is refused, which writes nothing; or a generator that
        has done the first of several slices.
        """
        identity = ANONYMOUS
        if payload and payload[0] == Kind.SIGNED:
            try:
                identity, payload = unsign(payload)
            except ValueError:
                log.error("broken proposal ignored", extra={"fields": {"kind": payload[0]}})
                return Undecodable()
        handler = self._handlers.get(payload[0]) if payload else None
        if handler is None:
            log.error("unknown kind of proposal ignored", extra={"fields": {"size": len(payload)}})
            return Undecodable()
        try:
            request = handler.decode(payload[1:])
        except (DecodeError, ValueError):
            # The proposing member validates requests, so this is a bug. All members skip the
            # proposal alike; an exception would end every member of the cluster.
            log.error("broken proposal ignored", extra={"fields": {"kind": payload[0]}})
            return Undecodable()
        try:
            if handler.refuse is not None:
                handler.refuse(request)
            check = None
            if self._auth.enabled and handler.permit is not None:
                check = handler.permit(identity, request)
            if check is None:
                result = handler.apply(writer, request, wanted)
            else:
                result = _checked(check, handler, writer, request, wanted)
            if isinstance(result, GeneratorType):
                next(result)
            return result
        except StopIteration as end:
            applied: Applied = end.value
            return applied
        except Refusal as refusal:
            return _result(refusal)


def _checked(
    check: Generator[None, None, None], handler: Handler, writer: Writer, request: Any, wanted: bool
) -> Work:
    yield from check
    result = handler.apply(writer, request, wanted)
    if isinstance(result, Applied):
        return result
    return (yield from result)


def finished(work: Work) -> Generator[None, None, Applied | Refusal]:
    """Run `work` to its end; returns its result or the error it is refused with."""
    try:
        return (yield from work)
    except Refusal as refusal:
        return _result(refusal)


def _result(refusal: Refusal) -> Refusal:
    """A refusal as a result, without its traceback.

    The frames refer to the results of the apply, and so to the refusal: such a cycle keeps the
    requests until a garbage collection.
    """
    return refusal.with_traceback(None)
