"""Page Cluster, on three members of which one is killed."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Route, expect

from cluster.local import LocalCluster
from tests.console.browser import DESKTOP, PHONE, Console
from tests.console.conftest import Open
from tests.console.walk import width
from tests.support.client import Client


def test_the_members_are_drawn_with_their_roles(console: Console, cluster: LocalCluster) -> None:
    page = console.open()
    leader = cluster.wait_leader()
    picture = page.get_by_role("img", name="Members.")
    expect(picture.locator(".leader .name")).to_have_text(cluster.members[leader].name)
    expect(picture.locator(".follower")).to_have_count(2)
    expect(page.get_by_text("All 3 members answer.")).to_be_visible()
    row = page.get_by_role("row", name=cluster.members[leader].name)
    expect(row.get_by_text("leader", exact=True)).to_be_visible()
    expect(row.get_by_text("20.5 kB of 2.1 GB").or_(row.get_by_text("of 2.1 GB"))).to_be_visible()


@pytest.mark.parametrize("killed", ["leader", "follower"])
def test_a_member_that_is_killed_is_shown_as_cut_off(
    open_console: Open, cluster: LocalCluster, killed: str
) -> None:
    leader = cluster.wait_leader()
    victim = leader if killed == "leader" else (leader + 1) % 3
    console = open_console(next(index for index in range(3) if index not in (leader, victim)))
    page = console.open()
    expect(page.get_by_text("All 3 members answer.")).to_be_visible()
    name = cluster.members[victim].name
    cluster.kill(victim)
    expect(page.get_by_text(f"No answer from {name}. The cluster works.")).to_be_visible()
    expect(page.locator(".picture .no-answer .name")).to_have_text(name)
    expect(page.locator(".picture .cut")).to_have_count(1)
    expect(page.locator(".picture .leader")).to_have_count(1)
    for theme, size, suffix in (
        ("light", DESKTOP, "light"),
        ("dark", DESKTOP, "dark"),
        ("dark", PHONE, "phone"),
    ):
        console.look(theme, size)
        assert width(page) <= size[0]
        console.picture(f"cluster-without-{killed}-{suffix}")
    cluster.restart(victim)
    expect(page.get_by_text("All 3 members answer.")).to_be_visible()


#: What the page is told of a member that answers and does not know the question for its report.
UNREPORTED = {"id", "name", "peer_urls", "client_urls", "learner", "leader", "reachable"}


def test_a_member_of_an_earlier_release_has_no_figures(console: Console) -> None:
    def cluster(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        last = told["members"][-1]
        told["members"][-1] = {
            **{name: value for name, value in last.items() if name in UNREPORTED},
            **{"error": "does not report (an earlier release)", "index": None, "certificates": []},
        }
        route.fulfill(response=answer, json=told)

    console.page.route("**/console/api/cluster*", cluster)
    page = console.open()
    row = page.get_by_role("row").filter(has_text="does not report (an earlier release)")
    # Term, index, lag, version, database, certificates.
    expect(row.locator(".unknown")).to_have_count(6)
    expect(page.get_by_role("listitem").filter(has_text="does not report")).to_be_visible()


def test_a_page_opened_now_shows_what_was_before(console: Console, client: Client) -> None:
    for number in range(100):
        client.put(b"charts/%d" % number, b"x" * 100)
    page = console.open()
    requests = page.get_by_role("figure", name="Requests")
    expect(requests.locator("canvas")).to_be_visible()
    expect(requests.get_by_text("puts")).to_be_visible()
    expect(page.get_by_role("figure", name="Latency of the disk").locator("canvas")).to_be_visible()


def test_the_colours_are_switched_and_remembered(console: Console) -> None:
    page = console.open()
    backgrounds = set()
    for theme in ("light", "dark"):
        page.get_by_role("button", name="Colours").click()
        expect(page.get_by_role("button", name=f"Colours: {theme}")).to_be_visible()
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()


def test_the_state_of_a_cluster_is_said_in_sentences(console: Console) -> None:
    page = console.open("sign-in")

    def said(members: list[dict[str, Any]], leader: str = "1", **fields: Any) -> list[str]:
        script = """async (cluster) => {
            const { verdict } = await import("./pages/cluster_verdict.js");
            return verdict(cluster).map(({ kind, text }) => `${kind}: ${text}`);
        }"""
        cluster = {"members": members, "leader": leader, "alarms": [], **fields}
        sentences: list[str] = page.evaluate(script, cluster)
        return sentences

    def member(number: int, **fields: Any) -> dict[str, Any]:
        healthy = {"reachable": True, "learner": False, "leader": number == 1, "lag": "0"}
        sizes = {"db_size": "1", "quota": "100", "version": "1"}
        return {"id": str(number), "name": f"m{number}", **healthy, **sizes, **fields}

    three = [member(1), member(2), member(3)]
    gone = {"reachable": False}
    assert said(three) == ["good: All 3 members answer. The failure of 1 member can be survived."]
    earlier = member(3, version=None, error="does not report (an earlier release)")
    assert said([*three[:2], earlier])[0] == "warn: m3 does not report (an earlier release)."
    assert said([*three[:2], member(3, **gone)]) == [
        "warn: No answer from m3. The cluster works. One more failure stops writes."
    ]
    assert said([three[0], member(2, **gone), member(3, **gone)], leader="0") == [
        "bad: No quorum: 1 of 3 voting members can be reached, 2 are needed."
        " Nothing can be written. No answer from m2, m3."
    ]
    assert said(three, leader="0") == ["bad: No leader: an election is under way."]
    assert said([three[0], member(2, **gone, learner=True)]) == [
        "warn: No answer from m2. The cluster works. One more failure stops writes."
    ]
    alarm = {"member": "2", "alarm": "NOSPACE"}
    ending = member(3, certificates=[{"what": "--cert-file", "days": 3}])
    worn = [member(1, db_size="90"), member(2, lag="6000", version="2"), ending]
    assert said(worn, alarms=[alarm]) == [
        "bad: Alarm NOSPACE of m2: the database reached its quota, writes are refused.",
        "bad: Certificates of m3 expire in 3 days.",
        "warn: The database takes up to 90% of its quota: m1.",
        "warn: m2 is 6,000 entries behind the leader.",
        "warn: Members run different versions: 1, 2.",
        "good: All 3 members answer. The failure of 1 member can be survived.",
    ]
