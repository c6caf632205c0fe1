"""Page Operations, on a member of its own whose state is looked at by a client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from rusd.testing import Server
from tests.console.browser import PHONE, Console
from tests.console.conftest import Open
from tests.support.auth_pair import auth_call
from tests.support.changes import UNHEALTHY, once_allowed
from tests.support.client import Client, Refused

RUSDUTL = Path(sys.executable).with_name("rusdutl")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def etcd(server: Server) -> Iterator[Client]:
    with Client(server.endpoint) as client:
        yield client


@pytest.fixture
def operations(open_console: Open, server: Server) -> Console:
    """The console of that member."""
    return open_console(server.url)


def confirm(page: Page, action: str, word: str = "") -> None:
    """Agree in the open dialog."""
    dialog = page.get_by_role("dialog")
    if word:
        expect(dialog.get_by_role("button", name=action)).to_be_disabled()
        dialog.get_by_label("to confirm").fill(word)
    dialog.get_by_role("button", name=action).click()
    expect(dialog).to_have_count(0)


def test_a_member_is_added_as_a_learner_and_removed_by_its_name(
    operations: Console, etcd: Client
) -> None:
    page = operations.open("operations")
    page.get_by_role("button", name="Add member").click()
    page.get_by_label("Peer URLs").fill("http://127.0.0.1:1")
    operations.picture("operations-add-member")
    page.get_by_role("dialog").get_by_role("button", name="Add member").click()
    started = page.get_by_role("dialog", name="Start the new member")
    expect(started.get_by_text("NAME=http://127.0.0.1:1")).to_be_visible()
    expect(started.get_by_text("--initial-cluster-state existing")).to_be_visible()
    started.get_by_role("button", name="Close").last.click()
    added = next(member for member in etcd.members().members if member.isLearner)
    row = page.get_by_role("row", name=f"{added.ID:x}")
    row.get_by_role("button", name="Remove").click()
    operations.picture("operations-remove-member")
    confirm(page, "Remove", word=f"{added.ID:x}")
    expect(row).to_have_count(0)
    assert len(etcd.members().members) == 1


def test_an_error_is_shown_in_etcds_words(operations: Console, server: Server) -> None:
    operations.tolerate("400 (Bad Request)")
    page = operations.open("operations")
    page.get_by_role("button", name="Add member").click()
    page.get_by_label("Peer URLs").fill("not a url")
    page.get_by_role("dialog").get_by_role("button", name="Add member").click()
    expect(page.get_by_role("alert")).to_contain_text("etcdserver: given member URLs are invalid")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_leader_is_moved_by_the_console_of_the_leader(
    open_console: Open, cluster: LocalCluster
) -> None:
    leader = cluster.wait_leader()
    target = (leader + 1) % 3
    other = open_console(target).open("operations")
    expect(other.get_by_role("button", name="Make leader").first).to_be_disabled()
    link = other.get_by_text("console of the leader").get_by_role("link")
    expect(link).to_have_attribute(
        "href", f"{cluster.members[leader].client_url}/console/#/operations"
    )
    page = open_console(leader).open("operations")
    row = page.get_by_role("row", name=cluster.members[target].name)
    row.get_by_role("button", name="Make leader").click()
    confirm(page, "Move leader")
    expect(row.get_by_text("leader", exact=True)).to_be_visible()
    assert cluster.wait_leader() == target


def test_members_without_an_answer_count_as_failures(
    open_console: Open, cluster: LocalCluster
) -> None:
    leader = cluster.wait_leader()
    silent, other = (leader + 1) % 3, (leader + 2) % 3
    page = open_console(leader).open("operations")
    expect(page.get_by_text("of which 2 must answer: the failure of 1 is survived")).to_be_visible()
    cluster.kill(silent)
    expect(page.get_by_text("must answer, and 2 do: no further failure is")).to_be_visible()
    row = page.get_by_role("row", name=cluster.members[other].name)
    row.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("2 must answer, and 1 does: there is no quorum")).to_be_visible()


def test_dialogs_say_that_a_change_would_lose_the_quorum_and_which_etcd_refuses(
    open_console: Open, cluster: LocalCluster, client: Client
) -> None:
    leader = cluster.wait_leader()
    silent, other = (leader + 1) % 3, (leader + 2) % 3
    console = open_console(leader)
    console.tolerate("status of 503", "status of 500", "status of 412", "status of 400")
    page = console.open("operations")
    row = page.get_by_role("row", name=cluster.members[other].name)
    with Client(cluster.endpoints[leader]) as etcd:
        # (A test before this one may have restarted a member just now.)
        added = once_allowed(lambda: etcd.member_add("http://127.0.0.1:1", learner=True), UNHEALTHY)
        learner = added.member.ID
        try:
            cluster.kill(silent)
            expect(page.get_by_text("must answer, and 2 do: no further failure is")).to_be_visible()
            dialog = page.get_by_role("dialog")
            lost = dialog.get_by_text("4 voting members, of which 3 must answer, and 2 do")

            page.get_by_role("button", name="Promote").click()
            expect(lost).to_contain_text("there is no quorum. Nothing can be written.")
            expect(dialog.get_by_role("button", name="Promote")).to_be_disabled()
            console.picture("operations-promote-loses-the-quorum")
            dialog.get_by_role("button", name="Cancel").click()

            page.get_by_role("button", name="Add member").click()
            refusal = dialog.get_by_text("etcd refuses this while so few members answer")
            expect(refusal).to_be_visible()
            dialog.get_by_label("As a learner").uncheck()
            expect(lost).to_contain_text("until enough of them answer")
            dialog.get_by_label("Peer URLs").fill("http://127.0.0.1:2")
            console.picture("operations-add-member-loses-the-quorum")
            dialog.get_by_role("button", name="Add member").click()
            expect(dialog.get_by_role("alert")).to_contain_text("etcdserver: unhealthy cluster")
            dialog.get_by_role("button", name="Cancel").click()

            row.get_by_role("button", name="Remove").click()
            expect(refusal).to_be_visible()
            confirm_refused(page, "Remove", cluster.members[other].name)
        finally:
            cluster.start_all()
            cluster.wait_healthy()
            once_allowed(lambda: etcd.member_remove(learner), UNHEALTHY)


def confirm_refused(page: Page, action: str, word: str) -> None:
    """Agree in the open dialog, and see that etcd does not."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("to confirm").fill(word)
    dialog.get_by_role("button", name=action).click()
    expect(dialog.get_by_role("alert")).to_contain_text("etcdserver: unhealthy cluster")


def test_compaction_is_asked_back_and_forgets_what_was_before(
    operations: Console, etcd: Client
) -> None:
    for value in (b"1", b"2", b"3"):
        revision = etcd.put(b"compacted", value).header.revision
    page = operations.open("operations", tab="maintenance")
    page.get_by_label("Revision").fill(str(revision))
    page.get_by_role("button", name="Compact").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cannot be undone")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Compact")).to_be_focused()
    assert etcd.range(b"compacted", revision=revision - 1).kvs[0].value == b"2"
    page.get_by_role("button", name="Compact").click()
    confirm(page, "Compact")
    with pytest.raises(Refused, match="compacted"):
        etcd.range(b"compacted", revision=revision - 1)


def test_defragmentation_is_asked_back(operations: Console, server: Server) -> None:
    page = operations.open("operations", tab="maintenance")
    page.get_by_role("button", name="Defragment").click()
    confirm(page, "Defragment")
    expect(page.get_by_text("was defragmented")).to_be_visible()


def test_an_alarm_is_cleared(operations: Console, etcd: Client) -> None:
    raise_it = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, alarm=rpc.NOSPACE)
    etcd.call("/etcdserverpb.Maintenance/Alarm", raise_it, rpc.AlarmResponse)
    page = operations.open("operations", tab="maintenance")
    page.get_by_role("button", name="Clear").click()
    operations.picture("operations-alarm")
    confirm(page, "Clear alarm")
    expect(page.get_by_text("No alarm is raised.")).to_be_visible()
    ask = rpc.AlarmRequest(action=rpc.AlarmRequest.GET)
    left = etcd.call("/etcdserverpb.Maintenance/Alarm", ask, rpc.AlarmResponse)
    assert not left.alarms


def test_a_snapshot_is_a_file_that_can_be_restored(
    operations: Console, etcd: Client, tmp_path: Path
) -> None:
    for number in range(20):
        etcd.put(b"snapshot/%d" % number, b"x" * 100_000)
    page = operations.open("operations", tab="maintenance")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download a snapshot").click()
    assert download.value.suggested_filename.endswith(".db")
    saved = tmp_path / "snapshot.db"
    download.value.save_as(saved)
    restore = ["snapshot", "restore", str(saved), "--data-dir", str(tmp_path / "restored")]
    subprocess.run([str(RUSDUTL), *restore], check=True, timeout=60)


def test_roles_permissions_and_users_are_managed(operations: Console, etcd: Client) -> None:
    page = operations.open("operations", tab="roles")
    page.get_by_role("button", name="Add role").click()
    page.get_by_label("Name").fill("app")
    confirm(page, "Add role")
    row = page.get_by_role("row", name="app")
    row.get_by_role("button", name="Grant permission").click()
    page.get_by_label("Allows to").select_option("read and write")
    page.get_by_label("Prefix").fill("/app\\xff")
    operations.picture("operations-grant-permission")
    confirm(page, "Grant permission")
    expect(row.get_by_text("read and write: prefix /app\\xff")).to_be_visible()
    granted = etcd.call(*auth_call("RoleGet", role="app")).perm[0]  # type: ignore[attr-defined]
    assert (granted.permType, granted.key, granted.range_end) == (2, b"/app\xff", b"/apq")

    page.get_by_role("tab", name="Users").click()
    page.get_by_role("button", name="Add user").click()
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password", exact=True).fill("secret")
    confirm(page, "Add user")
    user = page.get_by_role("row", name="alice")
    user.get_by_role("button", name="Grant role").click()
    page.get_by_label("Role", exact=True).select_option("app")
    confirm(page, "Grant role")
    expect(user.locator(".chip")).to_contain_text("app")
    operations.look("dark", PHONE)
    operations.picture("operations-users-phone")
    operations.look()
    user.get_by_role("button", name="Revoke the role app of alice").click()
    confirm(page, "Revoke")
    user.get_by_role("button", name="Password").click()
    page.get_by_label("New password", exact=True).fill("new")
    page.get_by_label("New password again").fill("new")
    confirm(page, "Change password")
    user.get_by_role("button", name="Delete").click()
    confirm(page, "Delete user", word="alice")
    expect(page.get_by_text("No users")).to_be_visible()

    page.get_by_role("tab", name="Roles").click()
    row.get_by_role("button", name="Revoke read and write").click()
    confirm(page, "Revoke")
    expect(row.get_by_text("none")).to_be_visible()
    row.get_by_role("button", name="Delete").click()
    confirm(page, "Delete role", word="app")
    expect(page.get_by_text("No roles")).to_be_visible()


def test_authentication_is_enabled_with_a_new_root_and_disabled_by_it(
    operations: Console, etcd: Client
) -> None:
    page = operations.open("operations", tab="users")
    page.get_by_role("button", name="Enable").click()
    page.get_by_label("Password of root").fill("toor")
    page.get_by_label("Password again").fill("toor")
    operations.picture("operations-enable-authentication")
    page.get_by_role("dialog").get_by_role("button", name="Enable authentication").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("User").fill("root")
    page.get_by_label("Password").fill("toor")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Disable").click()
    confirm(page, "Disable authentication", word="disable")
    expect(page.get_by_role("button", name="Enable")).to_be_enabled()
    etcd.put(b"anyone", b"may write")
    etcd.call(*auth_call("UserDelete", name="root"))


@pytest.fixture
def read_only() -> Iterator[Server]:
    with Server(flags=["--console-read-only"]) as running:
        yield running


def test_a_read_only_console_changes_nothing(read_only: Server, open_console: Open) -> None:
    console = open_console(read_only.url)
    page = console.open("operations", tab="members")
    expect(page.get_by_text("The console of this member is read-only")).to_be_visible()
    for tab in ("Members", "Users", "Roles"):
        page.get_by_role("tab", name=tab).click()
        for button in page.locator(".operations").get_by_role("button").all():
            expect(button).to_be_disabled()
    page.get_by_role("tab", name="Maintenance").click()
    expect(page.get_by_role("button", name="Compact")).to_be_disabled()
    # (A snapshot is a read.)
    expect(page.get_by_role("button", name="Download a snapshot")).to_be_enabled()
    console.picture("operations-read-only")
