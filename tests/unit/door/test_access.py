"""Hosts and origins of HTTP requests: what is let in, what browsers are told."""

from __future__ import annotations

import asyncio

import pytest

from rusd.door.http.access import AccessControl, Origins, same_origin
from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.router import Router, page_request
from rusd.rpc.call import Caller
from rusd.rpc.pages import PageRequest, PageResponse


def request(method: str = "POST", secure: bool = False, **headers: str) -> PageRequest:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    caller = Caller("test", secure=secure)
    return page_request(method, "/v3/kv/put", fields, Body(None, BodyMemory()), caller)


async def page(request: PageRequest) -> PageResponse:
    return PageResponse(200, (), b"served")


def served(asked: PageRequest, origins: tuple[str, ...] = (), *hosts: str) -> PageResponse:
    router = Router({"/v3/": page}, ("/v3/",))
    return asyncio.run(AccessControl(router, Origins(origins), hosts or ("*",)).serve(asked))


def begun(asked: PageRequest) -> int:
    """The status that a request gets which is answered without a task; 0 if the page is asked."""
    found: list[int] = []
    access = AccessControl(Router({"/v3/": page}, ("/v3/",)), Origins(()), ("*",))
    access.begin(asked, b"", lambda response: found.append(response.status))
    return found[0] if found else 0


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"host": "a:1"}, False),
        ({"host": "a:1", "origin": "http://a:1"}, False),
        ({"host": "a", "origin": "http://a"}, False),
        ({"host": "a:80", "origin": "http://A"}, False),
        ({"host": "a:443", "origin": "https://a"}, True),
        ({"host": "a:1", "sec_fetch_site": "same-origin"}, False),
        ({"host": "a:1", "sec_fetch_site": "none"}, False),
        # Behind a proxy that ends TLS, or changes the host.
        ({"host": "a:1", "origin": "https://b", "sec_fetch_site": "same-origin"}, False),
        ({"host": "127.0.0.1:1", "origin": "http://127.0.0.1:1"}, False),
        ({"host": "[::1]:1", "origin": "http://[::1]:1"}, False),
        ({"host": "a.localhost:1", "origin": "http://a.localhost:1"}, False),
        ({"host": "a.example:1", "origin": "https://a.example:1"}, True),
    ],
)
def test_a_page_of_this_origin_and_a_client_that_is_no_browser_may_call(
    headers: dict[str, str], secure: bool
) -> None:
    asked = request(secure=secure, **headers)
    assert same_origin(asked.headers, secure=secure)
    assert Origins(()).admits(asked.headers, secure=secure)
    assert served(asked).status == 200


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({"host": "a:1", "origin": "http://b:1"}, False),
        ({"host": "a:1", "origin": "http://a:2"}, False),
        ({"host": "a:1", "origin": "http://a"}, False),
        ({"host": "a:1", "origin": "https://a:1"}, False),
        ({"host": "a:1", "origin": "http://a:1"}, True),
        ({"host": "a:1", "origin": "null"}, False),
        ({"host": "a:1", "origin": "http://a:1.evil"}, False),
        ({"host": "a:1", "origin": "file://"}, False),
        ({"origin": "http://b"}, False),
        ({"origin": "http://"}, False),
        ({"host": "a:1", "sec_fetch_site": "cross-site"}, False),
        ({"host": "a:1", "sec_fetch_site": "same-site"}, False),
        ({"host": "a:1", "origin": "http://a:1", "sec_fetch_site": "cross-site"}, False),
        ({"host": "a:1", "sec_fetch_site": "anything new"}, False),
        # Names that lead here, but are not known to be this member's.
        ({"host": "evil.example:1", "origin": "http://evil.example:1"}, False),
        ({"host": "127.0.0.1.evil.example", "origin": "http://127.0.0.1.evil.example"}, False),
        ({"host": "evil.localhost.example", "origin": "http://evil.localhost.example"}, False),
    ],
)
def test_a_page_of_another_origin_may_call_only_if_cors_says_so(
    headers: dict[str, str], secure: bool
) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "FOO"):
        asked = request(method, secure=secure, **headers)
        assert served(asked).status == served(asked, ("http://c:1",)).status == 403
        assert begun(asked) == 403
        assert served(asked, ("*",)).status == 200
        if "origin" in headers:
            assert served(asked, (headers["origin"],)).status == 200
    for method in ("GET", "HEAD", "OPTIONS"):
        assert served(request(method, secure=secure, **headers)).status == 200


@pytest.mark.parametrize("name", ["db1.example", "DB1.example", "db1.example."])
def test_a_page_of_this_origin_may_call_by_a_name_that_a_flag_gives_the_member(name: str) -> None:
    headers = {"host": f"{name}:1", "origin": f"http://{name}:1"}
    assert not Origins(()).admits(headers, secure=False)
    assert Origins((), ["db1.example"]).admits(headers, secure=False)
    assert Origins((f"http://{name}:1",)).admits(headers, secure=False)


def test_browsers_are_told_that_any_origin_may_read_unless_cors_names_some() -> None:
    def allowed(origins: tuple[str, ...], **headers: str) -> str | None:
        return dict(served(request(**headers), origins).headers).get("Access-Control-Allow-Origin")

    assert allowed(()) == allowed(("*",), origin="http://b") == "*"
    assert allowed(("http://b:1",), origin="http://b:1") == "http://b:1"
    assert allowed(("http://b:1",), origin="http://c:1") is None
    assert allowed(("http://b:1",)) is None


def test_options_is_answered_without_asking_the_page() -> None:
    answer = served(request("OPTIONS", origin="http://b"))
    assert (answer.status, answer.body) == (200, b"")
    assert dict(answer.headers)["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("a", 200),
        ("a:1", 200),
        ("[::1]:1", 200),
        ("evil.example:1", 421),
        ("a.evil.example", 421),
        ("", 421),
        ("a:1:2", 421),
        ("[::1]", 421),
    ],
)
def test_a_host_that_is_not_listed_is_misdirected(host: str, status: int) -> None:
    asked = request(host=host)
    assert served(asked, (), "a", "::1").status == status
    access = AccessControl(Router({"/v3/": page}, ("/v3/",)), Origins(()), ("a", "::1"))
    assert access.accepts_socket(asked) is (status == 200)


def test_hosts_do_not_matter_with_tls_and_without_a_list() -> None:
    assert served(request(host="evil", secure=True), (), "a").status == 200
    assert served(request(host="evil")).status == 200
    refused = served(request("OPTIONS", host='e"vil:1'), (), "a")
    assert refused.status == 421
    assert isinstance(refused.body, bytes)
    assert b'--host-whitelist "e\\"vil"' in refused.body
