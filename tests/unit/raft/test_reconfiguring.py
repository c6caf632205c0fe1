"""Members that only others know of: let in without a vote, until the state says more."""

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
    """What others say: the members this node knows, and one that joined."""
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
