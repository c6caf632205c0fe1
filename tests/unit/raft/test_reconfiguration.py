"""Members that only others know of: let in without a vote, until the state says more."""

from dataclasses import replace
from pathlib import Path

from rusd.raft.node import RaftNode
from rusd.raft.ports import Membership
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.test_node import run

STRANGER = 9
URL = ("http://127.0.0.1:1",)


def told(
    node: RaftNode, *, stranger: bool = True, removed: frozenset[int] = frozenset()
) -> Membership:
    """Return the peers' answer: the members this node knows, and one that joined."""
    known = node._core.membership
    urls = {member: url for member, url in known.urls.items() if member != STRANGER}
    voters = known.voters
    if stranger:
        urls, voters = {**urls, STRANGER: URL}, voters | {STRANGER}
    return Membership(voters, frozenset(), urls, removed)


def test_a_member_that_others_name_is_let_in_without_a_vote(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = (await cluster.followers())[0]
        voters = node._core.membership.voters
        node.meet(told(node))
        assert STRANGER in node._core.peers
        assert node._core.membership.voters == voters
        assert STRANGER in node._core.membership.learners

    run(tmp_path, scenario)


def test_it_stays_while_the_state_does_not_name_it_yet_and_goes_when_it_was_removed(
    tmp_path: Path,
) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = (await cluster.followers())[0]
        node.meet(told(node))
        node.reconfigure(told(node, stranger=False))
        assert STRANGER in node._core.peers
        node.reconfigure(told(node, stranger=False, removed=frozenset({STRANGER})))
        assert STRANGER not in node._core.peers
        node.meet(told(node))
        assert STRANGER not in node._core.peers, "an id that was removed never comes back"

    run(tmp_path, scenario)


MOVED = ("http://127.0.0.1:2",)


def test_new_urls_of_a_member_are_learnt_from_others_that_are_ahead(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = (await cluster.followers())[0]
        other = max(node._core.peers)
        known = told(node, stranger=False)
        moved = replace(known, urls={**known.urls, other: MOVED})
        node.meet(moved, node.applied_index)
        await cluster.turn(node)
        assert node.driver.peers._urls[other] != MOVED, "they may be behind"
        node.meet(moved, node.applied_index + 1)
        await cluster.turn(node)
        assert node.driver.peers._urls[other] == MOVED
        assert other in node._core.membership.voters

    run(tmp_path, scenario)


def test_new_urls_of_a_member_that_only_others_know_of_are_learnt(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        node = (await cluster.followers())[0]
        node.meet(told(node))
        met = told(node)
        node.meet(replace(met, urls={**met.urls, STRANGER: MOVED}), node.applied_index + 1)
        await cluster.turn(node)
        assert node.driver.peers._urls[STRANGER] == MOVED
        assert STRANGER in node._core.membership.learners

    run(tmp_path, scenario)
