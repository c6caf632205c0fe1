"""Events of watchers that are up to date."""

from rusd.proto import rpc_pb2 as rpc
from tests.unit.watch.scene import CLUSTER_ID, MEMBER_ID, TERM, Scene, plain, seen


def test_created_comes_first_with_the_current_revision(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a")
    scene.put(b"a")
    created, event = client.read()
    assert plain(created) == {"created": True}
    assert created.header == rpc.ResponseHeader(
        cluster_id=CLUSTER_ID, member_id=MEMBER_ID, revision=2, raft_term=TERM
    )
    assert (event.header.revision, event.created) == (3, False)


def test_a_single_key_watcher_sees_only_its_key(scene: Scene) -> None:
    client = scene.client()
    client.create(b"b")
    for key in (b"a", b"b", b"ba", b"c"):
        scene.put(key)
    assert seen(client.read()) == [("put", b"b", 3)]


def test_a_range_watcher_sees_keys_from_its_start_to_below_its_end(scene: Scene) -> None:
    client = scene.client()
    client.create(b"b", b"d")
    for key in (b"a", b"b", b"c", b"d"):
        scene.put(key)
    assert seen(client.read()) == [("put", b"b", 3), ("put", b"c", 4)]


def test_range_end_zero_has_no_upper_bound(scene: Scene) -> None:
    client = scene.client()
    client.create(b"b", b"\0")
    for key in (b"a", b"b", b"\xff\xff\xff"):
        scene.put(key)
    assert seen(client.read()) == [("put", b"b", 3), ("put", b"\xff\xff\xff", 4)]


def test_an_empty_key_means_the_smallest_key(scene: Scene) -> None:
    client = scene.client()
    client.create(b"", b"\0")
    client.create(b"")
    scene.put(b"\0")
    scene.put(b"a")
    events = [response for response in client.read() if response.events]
    assert [(response.watch_id, seen([response])) for response in events] == [
        (1, [("put", b"\0", 2)]),
        (0, [("put", b"\0", 2)]),
        (0, [("put", b"a", 3)]),
    ]


def test_a_response_carries_one_revision_with_its_events_in_order(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", b"z")
    scene.put(b"x")
    scene.change(puts=[(b"c", b"1"), (b"b", b"1")], deletes=[b"x"])
    scene.put(b"d")
    _, first, second, third = client.read()
    assert seen([first]) == [("put", b"x", 2)]
    assert seen([second]) == [("delete", b"x", 3), ("put", b"c", 3), ("put", b"b", 3)]
    assert seen([third]) == [("put", b"d", 4)]
    assert [one.header.revision for one in (first, second, third)] == [2, 3, 4]


def test_a_delete_event_has_only_key_and_revision(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a")
    scene.delete(b"a")
    event = client.read()[1].events[0]
    assert event.type == 1
    assert {field.name for field, _ in event.kv.ListFields()} == {"key", "mod_revision"}
    assert not event.HasField("prev_kv")


def test_prev_kv_is_what_the_event_replaced(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", prev_kv=True)
    scene.put(b"a", value=b"1")
    scene.put(b"a", value=b"2")
    scene.delete(b"a")
    scene.put(b"a", value=b"3")
    created, changed, deleted, again = (r.events[0] for r in client.read()[1:])
    assert not created.HasField("prev_kv")
    assert (changed.prev_kv.value, changed.prev_kv.mod_revision) == (b"1", 2)
    assert (deleted.prev_kv.value, deleted.prev_kv.mod_revision) == (b"2", 3)
    assert not again.HasField("prev_kv")


def test_prev_kv_goes_only_to_watchers_that_asked_for_it(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a", prev_kv=True)
    client.create(b"a")
    scene.put(b"a")
    with_prev, without = client.read()[2:]
    assert with_prev.events[0].HasField("prev_kv")
    assert not without.events[0].HasField("prev_kv")


def test_filters_drop_puts_or_deletes(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", filters=[rpc.WatchCreateRequest.NOPUT])
    client.create(b"a", filters=[rpc.WatchCreateRequest.NODELETE])
    client.create(b"a", filters=[rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE])
    scene.put(b"a")
    scene.delete(b"a")
    events = [(r.watch_id, seen([r])) for r in client.read() if not r.created]
    assert events == [(1, [("put", b"a", 2)]), (0, [("delete", b"a", 3)])]


def test_a_future_start_revision_waits_for_it(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", start_revision=4)
    for _ in range(4):
        scene.put(b"a")
    assert seen(client.read()) == [("put", b"a", 4), ("put", b"a", 5)]


def test_several_revisions_of_one_commit_come_one_by_one(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    writer = scene.store.begin()
    for _ in range(3):
        txn = writer.txn()
        txn.put(b"a", b"v", 0)
        txn.end()
    writer.commit()
    scene.hub.publish(writer.events)
    assert [seen([r]) for r in client.read()[1:]] == [[("put", b"a", r)] for r in (2, 3, 4)]


def test_watchers_of_one_prefix_share_the_message(scene: Scene) -> None:
    clients = [scene.client() for _ in range(3)]
    for client in clients:
        client.create(b"a", b"b")
        client.take()
    scene.put(b"a")
    first, second, third = (client.unread[0] for client in clients)
    assert first is second is third


def test_a_gap_in_what_is_published_is_an_error_not_a_lost_event(scene: Scene) -> None:
    writer = scene.store.begin()
    try:
        scene.hub.publish([(scene.store.revision + 2, [])])
    except AssertionError as error:
        assert "published after" in str(error)
    else:
        raise AssertionError("a lost revision went unnoticed")
    assert writer.revision == 1
