"""The audit log: one JSON line for each login, each change of users and roles, each denied call.

    {"ts", "event", "method", "user", "remote", "outcome", "error", "request"}

    event     "login", "change" (of users, roles or permissions), "denied" or "left_out"
    user      of the token or certificate; of a login the name that was given
    outcome   "OK" or the name of the gRPC status; `error` has its text
    request   names, keys, ranges and access of the request, cut at `FIELD` characters

A member writes what its own clients call. Fields are chosen by name, so that no password, hash or
token is among them. Calls that fail beyond `DENIALS` in a second are counted in a line "left_out",
since any client can cause them; what succeeds is always written.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from rusd.auth.records import Access
from rusd.rpc.call import Call
from rusd.rpc.errors import Code, as_etcd

#: Lines about denied calls and failed logins that are written in a second.
DENIALS = 100
#: Characters of a field.
FIELD = 256
#: Fields of requests that are written.
_FIELDS = ("name", "user", "role", "key", "range_end")

LOGIN = "/etcdserverpb.Auth/Authenticate"
WATCH = "/etcdserverpb.Watch/Watch"


class Lines(Protocol):
    """Destination of lines (rusd/base/line_file.py)."""

    def write(self, line: str) -> None:
        """Append a line; it is written later."""


class AuditLog:
    """Formats the lines of one member."""

    def __init__(self, lines: Lines, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch."""
        self._lines = lines
        self._clock = clock
        self._second = 0
        self._denials = 0

    def changed(self, method: str, request: Any, call: Call, error: BaseException | None) -> None:
        """Log the end of a call that logs in, or changes users or roles."""
        event = "login" if method == LOGIN else "change"
        self._write(event, method, request, call, error)

    def denied(self, method: str, request: Any, call: Call, error: BaseException) -> None:
        """Log a call that was refused for lack of an identity or a permission."""
        self._write("denied", method, request, call, error)

    def watch_denied(self, request: Any, call: Call, error: BaseException) -> None:
        """Log a refused watcher; its stream continues."""
        self.denied(WATCH, request, call, error)

    def _write(
        self, event: str, method: str, request: Any, call: Call, error: BaseException | None
    ) -> None:
        now = self._clock()
        if error is not None and not self._has_room(int(now)):
            return
        told = None if error is None else as_etcd(error)
        line: dict[str, object] = {
            "ts": _timestamp(now),
            "event": event,
            "method": method,
            "user": (request.name if method == LOGIN else call.identity.user)[:FIELD],
            "remote": call.caller.address,
            "outcome": "OK" if error is None else (told.code if told else Code.INTERNAL).name,
        }
        if error is not None:
            line["error"] = told.message if told else type(error).__name__
        line["request"] = _shown(request)
        self._lines.write(json.dumps(line, separators=(",", ":")))

    def _has_room(self, second: int) -> bool:
        if second != self._second:
            if self._denials > DENIALS:
                self._lines.write(left_out(self._denials - DENIALS, self._clock))
            self._second, self._denials = second, 0
        self._denials += 1
        return self._denials <= DENIALS


def left_out(count: int, clock: Callable[[], float]) -> str:
    """Return the line that replaces dropped lines."""
    line = {"ts": _timestamp(clock()), "event": "left_out", "lines": count}
    return json.dumps(line, separators=(",", ":"))


def _timestamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")


def _shown(request: Any) -> dict[str, object]:
    if request is None:
        return {}
    known = request.DESCRIPTOR.fields_by_name
    found: dict[str, object] = {
        name: _text(value)
        for name in _FIELDS
        if name in known and (value := getattr(request, name))
    }
    if "perm" in known and request.HasField("perm"):
        permission = request.perm
        names = {each.value: each.name for each in Access}
        found["access"] = names.get(int(permission.permType), str(permission.permType))
        found["key"], found["range_end"] = _text(permission.key), _text(permission.range_end)
    return found


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        value = value[:FIELD].decode(errors="backslashreplace")
    return value[:FIELD]
