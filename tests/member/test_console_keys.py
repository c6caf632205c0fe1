"""The console's pages of keys: the permissions, errors and revisions of the calls of etcd's API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client

AUTH = "/etcdserverpb.Auth/"


@pytest.fixture(scope="module")
def member() -> Iterator[str]:
    with LocalCluster(1) as one:
        yield one.endpoints[0]


def ask(member: str, page: str, token: str = "", **query: bytes | int) -> tuple[int, Any]:
    """Return (status, JSON)."""
    text = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
        for name, value in query.items()
    }
    headers = {"Authorization": token} if token else {}
    request = Request(f"http://{member}/console/api/{page}?{urlencode(text)}", headers=headers)
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def names(answer: Any) -> list[bytes]:
    return [base64.b64decode(entry["name"]) for entry in answer["entries"]]


def test_levels_and_histories_of_arbitrary_bytes(member: str) -> None:
    key = b"bytes/\xff\0<script>/" + b"x" * 10_000
    with Client(member) as client:
        first = client.put(key, b"1").header.revision
        client.delete(key)
        client.put(key, b"")
    status, answer = ask(member, "level", prefix=b"bytes/", separator=b"/")
    assert (status, names(answer)) == (200, [b"bytes/\xff\0<script>/"])
    status, answer = ask(member, "level", prefix=b"bytes/\xff\0<script>/", separator=b"/")
    assert (status, names(answer)) == (200, [key])
    assert answer["entries"][0]["key"]["size"] == 0
    status, answer = ask(member, "history", key=key)
    told = [(one["revision"], one["deleted"], one["version"]) for one in answer["versions"]]
    assert (status, answer["more"]) == (200, False)
    assert told == [
        (str(first + 2), False, "1"), (str(first + 1), True, "0"), (str(first), False, "1"),
    ]  # fmt: skip
    status, answer = ask(member, "history", key=key, last=first + 1, limit=1)
    assert ([one["revision"] for one in answer["versions"]], answer["more"]) == (
        [str(first + 1)],
        True,
    )


def test_a_query_is_base64_of_either_alphabet(member: str) -> None:
    key = b"\xfb\xef\xff" * 20_000
    with Client(member) as client:
        client.put(key, b"long")
    for text in (base64.b64encode(key[:9000]), base64.urlsafe_b64encode(key)):
        url = f"http://{member}/console/api/history?{urlencode({'key': text})}"
        with urlopen(url, timeout=10) as response:
            assert len(json.load(response)["versions"]) == (len(text) > 20_000)


def test_wrong_questions_are_refused_in_the_words_of_the_gateway(member: str) -> None:
    with Client(member) as client:
        revision = client.put(b"k", b"v").header.revision
        client.put(b"k", b"v")
        client.compact(revision + 1)
    compacted, future = (
        ask(member, "level", revision=revision),
        ask(member, "level", revision=1 << 60),
    )
    assert (compacted[0], compacted[1]["code"]) == (400, 11)
    assert compacted[1]["message"] == "etcdserver: mvcc: required revision has been compacted"
    assert future[1]["message"] == "etcdserver: mvcc: required revision is a future revision"
    assert ask(member, "history")[1]["message"] == "etcdserver: key is not provided"
    for query in (
        "key=%25",
        "key=a",
        "prefix=%C3%A9",
        "limit=-1",
        "revision=x",
        "last=" + "9" * 30,
    ):
        request = f"http://{member}/console/api/{'history' if 'key' in query else 'level'}?{query}"
        if query.startswith("last"):
            request = f"http://{member}/console/api/history?key=aw==&{query}"
        with pytest.raises(HTTPError) as refused:
            urlopen(request, timeout=10)
        assert refused.value.code == 400, query
        refused.value.close()


def test_a_user_sees_the_levels_and_histories_that_the_role_allows(member: str) -> None:
    with Client(member) as client:
        client.put(b"mine/a", b"v")
        client.put(b"theirs/a", b"v")

        def auth(name: str, request: Any) -> Any:
            answer = getattr(rpc, type(request).__name__.replace("Request", "Response"))
            return client.call(f"{AUTH}{name}", request, answer)

        permission = {"key": b"mine/", "range_end": b"mine0"}
        auth("RoleAdd", rpc.AuthRoleAddRequest(name="reader"))
        auth("RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(
            name="reader", perm={"permType": 0, **permission}))  # fmt: skip
        for user, role in (("root", "root"), ("some", "reader")):
            auth("UserAdd", rpc.AuthUserAddRequest(name=user, password="p"))
            auth("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role=role))
        auth("AuthEnable", rpc.AuthEnableRequest())
        token = auth("Authenticate", rpc.AuthenticateRequest(name="some", password="p")).token
        root = auth("Authenticate", rpc.AuthenticateRequest(name="root", password="p")).token
    try:
        assert ask(member, "level", separator=b"/")[0] == 400
        assert ask(member, "level", "wrong", separator=b"/")[0] == 401
        assert ask(member, "level", token, separator=b"/")[0] == 403
        assert ask(member, "level", token, prefix=b"theirs/", separator=b"/")[0] == 403
        assert ask(member, "history", token, key=b"theirs/a")[0] == 403
        assert names(ask(member, "level", token, prefix=b"mine/", separator=b"/")[1]) == [b"mine/a"]
        assert len(ask(member, "history", token, key=b"mine/a")[1]["versions"]) == 1
    finally:
        with Client(member, metadata={"token": root}) as client:
            client.call(f"{AUTH}AuthDisable", rpc.AuthDisableRequest(), rpc.AuthDisableResponse)
