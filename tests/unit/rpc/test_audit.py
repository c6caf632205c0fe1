"""The audit log: what is written, in which form, and that no secret is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from rusd.auth.errors import AuthenticationFailed, InvalidToken, PermissionDenied, UserExists
from rusd.auth.records import Identity
from rusd.base.errors import Refusal
from rusd.base.pending import Pending
from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.audit import DENIALS, FIELD, AuditLog
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import NO_LEADER, REQUEST_TOO_LARGE
from rusd.rpc.guards.audit import audited
from rusd.rpc.methods import BidiStream, ServerStream, Unary
from rusd.rpc.streams import StreamHandler

AUTH, KV = "/etcdserverpb.Auth/", "/etcdserverpb.KV/"


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 1_700_000_000.5
        self.audit = AuditLog(self, lambda: self.now)

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def call_of(user: str = "", **metadata: str) -> Call:
    return Call(metadata, b"", None, Caller("10.0.0.1:5"), identity=Identity(user, 7))


def run(lines: Lines, path: str, request: Any, result: object, user: str = "") -> None:
    """Make one unary call; `result`: its answer, or the error that it raises at once or later."""

    def answer(request: Any, call: Call) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    method = audited({path: Unary(type(request), answer)}, lines.audit)[path]
    assert isinstance(method, Unary)

    async def main() -> None:
        response = method.call(request, call_of(user, token="secret-token.1"))
        if not isinstance(response, bytes):
            await response

    with contextlib.suppress(Refusal):
        asyncio.run(main())


def failing(error: Exception) -> Pending[bytes]:
    pending: Pending[bytes] = Pending()
    pending.set_exception(error)
    return pending


def test_a_login_is_written_with_its_user_and_without_password_or_token() -> None:
    lines = Lines()
    request = rpc.AuthenticateRequest(name="alice", password="secret-password")
    token = rpc.AuthenticateResponse(token="secret-token.7").SerializeToString()
    run(lines, AUTH + "Authenticate", request, token)
    run(lines, AUTH + "Authenticate", request, failing(AuthenticationFailed()))
    assert lines.read[0] == {
        "ts": "2023-11-14T22:13:20.500+00:00",
        "event": "login",
        "method": AUTH + "Authenticate",
        "user": "alice",
        "remote": "10.0.0.1:5",
        "outcome": "OK",
        "request": {"name": "alice"},
    }
    assert lines.read[1]["outcome"] == "INVALID_ARGUMENT"
    assert "authentication failed" in lines.read[1]["error"]
    assert not any("secret" in line for line in lines.lines)


def test_a_change_is_written_whether_it_succeeds_or_not() -> None:
    lines = Lines()
    add = rpc.AuthUserAddRequest(name="bob", password="secret", hashedPassword="secret-hash")
    run(lines, AUTH + "UserAdd", add, b"", "root")
    run(lines, AUTH + "UserAdd", add, UserExists(), "root")
    permission = auth_pb2.Permission(
        key=b"a\xff", range_end=b"b", permType=auth_pb2.Permission.WRITE
    )
    grant = rpc.AuthRoleGrantPermissionRequest(name="r", perm=permission)
    run(lines, AUTH + "RoleGrantPermission", grant, b"", "root")
    one, other, last = lines.read
    assert (one["event"], one["user"], one["outcome"]) == ("change", "root", "OK")
    assert (other["outcome"], other["request"]) == ("FAILED_PRECONDITION", {"name": "bob"})
    assert last["request"] == {"name": "r", "access": "WRITE", "key": "a\\xff", "range_end": "b"}
    assert not any("secret" in line for line in lines.lines)


@pytest.mark.parametrize("later", [False, True])
def test_denied_calls_are_written_and_other_refusals_are_not(later: bool) -> None:
    lines = Lines()
    wrap: Callable[[Exception], object] = failing if later else lambda error: error
    request = rpc.RangeRequest(key=b"a", range_end=b"b")
    run(lines, KV + "Range", request, wrap(PermissionDenied()), "eve")
    run(lines, KV + "Range", request, wrap(InvalidToken()))
    run(lines, KV + "Range", request, wrap(NO_LEADER()))
    run(lines, KV + "Put", rpc.PutRequest(key=b"a", value=b"secret"), wrap(REQUEST_TOO_LARGE()))
    run(lines, KV + "Range", request, b"")
    run(lines, AUTH + "UserList", rpc.AuthUserListRequest(), b"")
    assert [(line["event"], line["user"], line["outcome"]) for line in lines.read] == [
        ("denied", "eve", "PERMISSION_DENIED"),
        ("denied", "", "UNAUTHENTICATED"),
    ]
    assert lines.read[0]["request"] == {"key": "a", "range_end": "b"}


class Responses:
    def __init__(self) -> None:
        self.error: Exception | None = None

    def send(self, message: bytes) -> None: ...
    def ready(self) -> bool:
        return True

    def waiting(self) -> int:
        return 0

    def finish(self, error: Exception | None = None) -> None:
        self.error = error


def test_streams_that_end_with_a_denial_are_written() -> None:
    lines, responses = Lines(), Responses()

    def start(request: Any, call: Call, out: Any) -> StreamHandler:
        out.finish(PermissionDenied())
        return None  # type: ignore[return-value]

    table = audited(
        {
            "/s": ServerStream(rpc.RangeRequest, start),
            "/b": BidiStream(rpc.WatchRequest, lambda call, out: start(None, call, out)),
        },
        lines.audit,
    )
    one, other = table["/s"], table["/b"]
    assert isinstance(one, ServerStream) and isinstance(other, BidiStream)
    one.open(rpc.RangeRequest(key=b"k"), call_of("eve"), responses)
    other.open(call_of("eve"), responses)
    assert isinstance(responses.error, PermissionDenied)
    assert [line["method"] for line in lines.read] == ["/s", "/b"]


def test_a_flood_of_denials_is_counted_and_hides_no_change() -> None:
    lines = Lines()
    request = rpc.RangeRequest(key=b"k")
    for _ in range(DENIALS * 3):
        lines.audit.denied(KV + "Range", request, call_of(), PermissionDenied())
    lines.audit.changed(AUTH + "AuthEnable", rpc.AuthEnableRequest(), call_of("root"), None)
    assert len(lines.lines) == DENIALS + 1
    lines.now += 1
    lines.audit.denied(KV + "Range", request, call_of(), PermissionDenied())
    assert lines.read[-2] | {"ts": ""} == {"ts": "", "event": "left_out", "lines": DENIALS * 2}


def test_a_field_is_cut() -> None:
    lines = Lines()
    request = rpc.AuthenticateRequest(name="u" * 1_000_000)
    lines.audit.changed(AUTH + "Authenticate", request, call_of(), AuthenticationFailed())
    assert lines.read[0]["request"]["name"] == "u" * FIELD
    assert len(lines.lines[0]) < 1000
