"""Sign-in against etcd's users."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rusd.proto import rpc_pb2 as rpc
from rusd.testing import Server
from tests.console.conftest import Open
from tests.support.auth_pair import auth_call
from tests.support.client import Client

READER = "reader"
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One member with authentication; beside root, a user who may read keys below `a/`."""
    with Server(auth=True) as running, root_client(running) as root:
        root.call(*auth_call("RoleAdd", name=READER))
        permission = {"permType": 0, "key": b"a/", "range_end": b"a0"}
        root.call(*auth_call("RoleGrantPermission", name=READER, perm=permission))
        root.call(*auth_call("UserAdd", name=READER, password=PASSWORD))
        root.call(*auth_call("UserGrantRole", user=READER, role=READER))
        yield running


def root_client(server: Server) -> Client:
    login = server.auth
    assert login is not None
    with Client(server.endpoint) as anyone:
        path, request, answer = auth_call("Authenticate", name=login.user, password=login.password)
        token = anyone.call(path, request, answer)
    assert isinstance(token, rpc.AuthenticateResponse)
    return Client(server.endpoint, metadata={"token": token.token})


def sign_in(page: Page, user: str, password: str) -> None:
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_the_page_that_was_asked_for_follows_the_sign_in(
    open_console: Open, server: Server
) -> None:
    page = open_console(server.url).open("operations", tab="users")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "root", "root")
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    expect(page.get_by_role("tab", name="Users")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("row", name=READER)).to_be_visible()


def test_a_wrong_password_is_refused_in_etcds_words(open_console: Open, server: Server) -> None:
    console = open_console(server.url)
    console.tolerate("400 (Bad Request)")
    page = console.open()
    sign_in(page, READER, "wrong")
    expect(page.get_by_role("alert")).to_have_text(
        "etcdserver: authentication failed, invalid user ID or password"
    )
    console.picture("sign-in-refused")


def test_the_token_is_kept_by_the_page_alone(open_console: Open, server: Server) -> None:
    console = open_console(server.url)
    page = console.open()
    sign_in(page, READER, PASSWORD)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    kept = page.evaluate(
        "async () => [Object.keys(localStorage), Object.keys(sessionStorage), document.cookie,"
        " (await indexedDB.databases()).length, location.href]"
    )
    assert kept == [["rusd-console-theme"], [], "", 0, f"{server.url}/console/#/cluster"]
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_session_that_the_member_ended_is_asked_for_again(
    open_console: Open, server: Server
) -> None:
    console = open_console(server.url)
    console.tolerate("401", "400")
    page = console.open()
    sign_in(page, READER, PASSWORD)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    with root_client(server) as root:
        root.call(*auth_call("UserChangePassword", name=READER, password=PASSWORD))
    expect(page.get_by_text("The session has expired")).to_be_visible()
    sign_in(page, READER, PASSWORD)
    expect(page.get_by_role("heading", name="Cluster")).to_be_attached()


def test_signing_out_forgets_the_session(open_console: Open, server: Server) -> None:
    page = open_console(server.url).open()
    sign_in(page, READER, PASSWORD)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_operations_are_disabled_for_a_user_without_the_role_root(
    open_console: Open, server: Server
) -> None:
    console = open_console(server.url)
    page = console.open("operations", tab="maintenance")
    sign_in(page, READER, PASSWORD)
    expect(page.get_by_text("a user without the role root")).to_be_visible()
    expect(
        page.get_by_role("button", name=re.compile("Compact|Defragment|snapshot"))
    ).to_have_count(3)
    for button in page.locator(".operations").get_by_role("button").all():
        expect(button).to_be_disabled()
    console.picture("operations-of-a-reader")


def test_a_cluster_without_authentication_says_so(open_console: Open) -> None:
    page = open_console(0).open("sign-in")
    expect(page.get_by_text("Authentication is off")).to_be_visible()
