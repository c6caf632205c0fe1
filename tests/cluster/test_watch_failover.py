"""A watch on a follower across leader changes: no gap, no duplicate, no reordering."""

from cluster.local import LocalCluster
from tests.support.client import Client
from tests.support.load import Writers, revision_of
from tests.support.pair import SUBJECT, command


def test_a_watch_on_a_follower_sees_every_event_once_and_in_order_across_leader_changes() -> None:
    with LocalCluster(3, binary=[command(SUBJECT)]) as cluster:
        follower = next(n for n in range(3) if n != cluster.leader())
        with Client(cluster.endpoints[follower]) as client, client.watch() as stream:
            stream.create(b"load/", b"load1")
            assert stream.receive().created
            with Writers(cluster.endpoints) as writers:
                writers.wait_for(100)
                for _ in range(2):
                    leader = cluster.leader()
                    if leader == follower:
                        # The watched member must live: hand leadership on first.
                        target = cluster.members[(follower + 1) % 3]
                        with Client(target.endpoint) as other:
                            client.move_leader(other.status().header.member_id)
                        leader = cluster.leader()
                    cluster.kill(leader)
                    writers.wait_for(100)
                    cluster.restart(leader)
                    cluster.wait_healthy()
            end = client.put(b"load0", b"").header.revision
            seen = []
            for _, event in stream.events():
                seen.append((event.kv.mod_revision, event.kv.key))
                if event.kv.mod_revision == end:
                    break
        history = []
        with Client(cluster.endpoints[0]) as client:
            for kv in client.range(b"load/", b"load1", sort_target=3, sort_order=1).kvs:
                history.append((kv.mod_revision, kv.key))
        assert seen == history
        writers.check(cluster.endpoints, revision_of(cluster.endpoints[0]))
