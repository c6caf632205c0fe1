"""Writes logins, changes of users and roles, and denied calls to the audit log.

Only with `--audit-log`; without it no method is wrapped. Stands before all other guards, so that it
sees what they refuse; the identity is in the call by the time the outcome is known. A refused
watcher does not end its stream: `rusd/api/watch.py` reports it.
"""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from rusd.base.chunks import Chunks, Encoded
from rusd.rpc.audit import AuditLog
from rusd.rpc.call import Call
from rusd.rpc.errors import (
    INVALID_AUTH_TOKEN,
    PERMISSION_DENIED,
    USER_EMPTY,
    USER_NOT_FOUND,
    as_etcd,
)
from rusd.rpc.methods import BidiStream, Method, Methods, ServerStream, Unary
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler

_AUTH = "/etcdserverpb.Auth/"
_QUESTIONS = frozenset(
    _AUTH + name for name in ("AuthStatus", "UserGet", "UserList", "RoleGet", "RoleList")
)
_DENIALS = frozenset(
    each.message for each in (INVALID_AUTH_TOKEN, PERMISSION_DENIED, USER_EMPTY, USER_NOT_FOUND)
)


def audited(methods: Methods, audit: AuditLog) -> Methods:
    """Return the table with every method wrapped in the audit."""
    return {path: _wrapped(path, method, audit) for path, method in methods.items()}


def _wrapped(path: str, method: Method, audit: AuditLog) -> Method:
    if isinstance(method, Unary):
        return _unary(path, method, audit)
    if isinstance(method, ServerStream):
        return _server_stream(path, method, audit)
    return _bidirectional(path, method, audit)


def _unary(path: str, method: Unary, audit: AuditLog) -> Unary:
    run = method.call
    changes = path.startswith(_AUTH) and path not in _QUESTIONS

    def note(request: Any, call: Call, error: BaseException | None) -> None:
        if changes:
            audit.changed(path, request, call, error)
        else:
            _note_denial(audit, path, request, call, error)

    async def awaited(response: Awaitable[Encoded], request: Any, call: Call) -> Encoded:
        try:
            encoded = await response
        except Exception as error:
            note(request, call, error)
            raise
        note(request, call, None)
        return encoded

    def call(request: Any, call: Call) -> Response:
        try:
            response = run(request, call)
        except Exception as error:
            note(request, call, error)
            raise
        if isinstance(response, bytes | Chunks):
            note(request, call, None)
            return response
        return awaited(response, request, call)

    return replace(method, call=call)


def _server_stream(path: str, method: ServerStream, audit: AuditLog) -> ServerStream:
    start = method.open

    def opened(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
        try:
            return start(request, call, _Audited(audit, path, request, call, responses))
        except Exception as error:
            _note_denial(audit, path, request, call, error)
            raise

    return replace(method, open=opened)


def _bidirectional(path: str, method: BidiStream, audit: AuditLog) -> BidiStream:
    start = method.open

    def opened(call: Call, responses: ResponseStream) -> StreamHandler:
        return start(call, _Audited(audit, path, None, call, responses))

    return replace(method, open=opened)


class _Audited:
    """A response stream that reports the error it finishes with."""

    def __init__(
        self, audit: AuditLog, path: str, request: Any, call: Call, responses: ResponseStream
    ) -> None:
        self.send = responses.send
        self.ready = responses.ready
        self.waiting = responses.waiting
        self._responses = responses
        self._audit = audit
        self._of = path, request, call

    def finish(self, error: Exception | None = None) -> None:
        _note_denial(self._audit, *self._of, error)
        self._responses.finish(error)


def _note_denial(
    audit: AuditLog, path: str, request: Any, call: Call, error: BaseException | None
) -> None:
    if error is None:
        return
    told = as_etcd(error)
    if told is not None and told.message in _DENIALS:
        audit.denied(path, request, call, error)
