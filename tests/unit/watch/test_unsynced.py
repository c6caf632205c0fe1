"""Watchers that are behind: they start in the past, or their client reads too slowly."""

from pathlib import Path

import pytest

from rusd.watch import unsynced
from tests.unit.watch.scene import Scene, plain, seen


def test_history_is_replayed_from_the_start_revision(scene: Scene) -> None:
    for key in (b"a", b"b", b"a", b"a"):
        scene.put(key)
    client = scene.client()
    client.create(b"a", start_revision=3)
    assert seen(client.read()) == [("put", b"a", 4), ("put", b"a", 5)]


def test_a_replay_carries_many_revisions_and_the_current_one_in_its_header(scene: Scene) -> None:
    for _ in range(3):
        scene.put(b"a")
    scene.put(b"z")
    client = scene.client()
    client.create(b"a", start_revision=1)
    _, replay = client.read()
    assert seen([replay]) == [("put", b"a", 2), ("put", b"a", 3), ("put", b"a", 4)]
    assert replay.header.revision == 5


def test_a_replay_fills_prev_kv_and_filters(scene: Scene) -> None:
    scene.put(b"a", value=b"1")
    scene.put(b"a", value=b"2")
    scene.delete(b"a")
    client = scene.client()
    client.create(b"a", start_revision=1, prev_kv=True, filters=[0])
    _, replay = client.read()
    assert seen([replay]) == [("delete", b"a", 4)]
    assert replay.events[0].prev_kv.value == b"2"


def test_live_events_follow_a_replay_without_gap_or_duplicate(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a", start_revision=2)
    scene.put(b"a")
    events = seen(client.read())
    scene.put(b"a")
    assert events + seen(client.read()) == [("put", b"a", r) for r in (2, 3, 4)]
    assert scene.hub.slow_watchers == 0


def test_a_response_has_a_thousand_revisions_at_most(scene: Scene) -> None:
    writer = scene.store.begin()
    for _ in range(1500):
        txn = writer.txn()
        txn.put(b"a", b"v", 0)
        txn.end()
    writer.commit()
    scene.hub.publish(writer.events)
    client = scene.client()
    client.create(b"a", start_revision=1)
    _, first, second = client.read()
    assert [len(first.events), len(second.events)] == [1000, 500]
    assert seen([first, second]) == [("put", b"a", 2 + i) for i in range(1500)]


def test_a_response_ends_with_the_revision_that_reaches_the_byte_limit(scene: Scene) -> None:
    for _ in range(3):
        scene.change(puts=[(b"a", b"x" * 400_000), (b"b", b"x" * 400_000)])
    client = scene.client()
    client.create(b"a", b"c", start_revision=1)
    assert [len(r.events) for r in client.read()[1:]] == [4, 2]


def test_a_slow_client_gets_everything_once_it_reads(scene: Scene) -> None:
    client = scene.client(room=2)
    client.create(b"a")
    for _ in range(10):
        scene.put(b"a")
    assert len(client.unread) == 2
    assert scene.hub.slow_watchers == 1
    assert seen(client.read()) == [("put", b"a", r) for r in range(2, 12)]
    assert scene.hub.slow_watchers == 0


def test_a_slow_client_does_not_hold_up_others(scene: Scene) -> None:
    slow, quick = scene.client(room=1), scene.client()
    slow.create(b"a")
    quick.create(b"a")
    for _ in range(5):
        scene.put(b"a")
    assert seen(quick.take()) == [("put", b"a", r) for r in range(2, 7)]
    assert len(slow.unread) == 1


def test_watchers_of_one_stream_share_what_room_there_is(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client(room=5)
    for _ in range(4):
        client.create(b"a", start_revision=1)
    scene.loop.advance()
    assert len(client.unread) == 5
    received = client.read()
    assert sorted(r.watch_id for r in received if r.events) == [0, 1, 2, 3]


def test_watchers_that_resume_at_different_revisions_share_no_events(scene: Scene) -> None:
    for _ in range(4):
        scene.put(b"a")
    client = scene.client()
    client.create(b"a", start_revision=4)
    client.create(b"a", start_revision=2)
    scene.loop.advance()
    replays = {r.watch_id: seen([r]) for r in client.read() if r.events}
    assert [len(replays[watch_id]) for watch_id in (0, 1)] == [2, 4]


def test_watchers_of_a_full_buffer_that_miss_nothing_stay_synced(scene: Scene) -> None:
    client = scene.client(room=2)
    client.create(b"a")
    client.create(b"b")
    scene.put(b"a")
    assert scene.hub.slow_watchers == 1
    assert [r.watch_id for r in client.read() if r.events] == [0]


def test_a_start_below_the_compaction_is_created_and_then_canceled(scene: Scene) -> None:
    for _ in range(4):
        scene.put(b"a")
    scene.compact(4)
    client = scene.client()
    client.create(b"a", watch_id=2, start_revision=3)
    created, canceled = client.read()
    assert plain(created) == {"watch_id": 2, "created": True}
    assert created.header.revision == 5
    assert plain(canceled) == {"watch_id": 2, "canceled": True, "compact_revision": 4}
    assert canceled.header.revision == 0
    assert scene.hub.watchers == 0


def test_a_start_at_the_compaction_is_allowed(scene: Scene) -> None:
    for _ in range(4):
        scene.put(b"a")
    scene.compact(4)
    client = scene.client()
    client.create(b"a", start_revision=4)
    assert seen(client.read()) == [("put", b"a", 4), ("put", b"a", 5)]


def test_a_slow_client_overtaken_by_compaction_is_canceled_after_its_queued_events(
    scene: Scene,
) -> None:
    client = scene.client(room=2)
    client.create(b"a")
    for _ in range(5):
        scene.put(b"a")
    scene.compact(5)
    _, event, canceled = client.read()
    assert seen([event]) == [("put", b"a", 2)]
    assert plain(canceled) == {"canceled": True, "compact_revision": 5}


def test_compaction_does_not_touch_live_watchers(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    revision = scene.put(b"b")
    scene.compact(revision)
    scene.put(b"a")
    assert seen(client.read()) == [("put", b"a", 3)]


def test_a_cancel_while_behind_is_final(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a", start_revision=1)
    client.stream.cancel(0)
    assert [plain(r) for r in client.read()] == [{"created": True}, {"canceled": True}]
    assert scene.hub.slow_watchers == 0


def test_a_snapshot_is_caught_up_with(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    client.create(b"a", start_revision=4)
    client.create(b"a", start_revision=9)
    for _ in range(3):
        scene.change(puts=[(b"a", b"v")], publish=False)
    scene.hub.restored()
    scene.put(b"a")
    received = client.read()
    assert [seen(r for r in received if r.watch_id == n) for n in range(3)] == [
        [("put", b"a", r) for r in (2, 3, 4, 5)],
        [("put", b"a", r) for r in (4, 5)],
        [],
    ]


def test_a_snapshot_that_is_compacted_beyond_a_watcher_cancels_it(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    for _ in range(3):
        scene.change(puts=[(b"a", b"v")], publish=False)
    scene.compact(4)
    scene.hub.restored()
    assert plain(client.read()[-1]) == {"canceled": True, "compact_revision": 4}


def test_a_storm_of_resumed_watches_shares_its_reading(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(300):
        scene.put(b"a")
    read = 0
    history = scene.store.history

    def counted(start: int, *, limit_revisions: int):  # type: ignore[no-untyped-def]
        nonlocal read
        for revision in history(start, limit_revisions=limit_revisions):
            read += 1
            yield revision

    monkeypatch.setattr(scene.store, "history", counted)
    clients = [scene.client() for _ in range(100)]
    for number, client in enumerate(clients):
        client.create(b"a", start_revision=2 + number)
    for number, client in enumerate(clients):
        assert seen(client.read()) == [("put", b"a", r) for r in range(2 + number, 302)]
    assert read == 300


def test_the_loop_gets_a_turn_after_each_slice(scene: Scene) -> None:
    for _ in range(100):
        scene.put(b"a")
    client = scene.client()
    client.create(b"a", start_revision=1)
    scene.loop.tick = unsynced.SLICE_SECONDS / 10
    slices = []
    while scene.hub.slow_watchers:
        scene.loop.step()
        slices.append(len(seen(client.take())))
    assert sum(slices) == 100
    assert max(slices) <= 12
    # Pauses last as long as the work did.
    assert all(delay >= unsynced.SLICE_SECONDS for delay in scene.loop.delays[1:])


def test_a_watcher_far_behind_does_not_starve_one_that_misses_little(scene: Scene) -> None:
    for _ in range(500):
        scene.put(b"a")
    far, near = scene.client(), scene.client()
    far.create(b"a", start_revision=1)
    near.create(b"a", start_revision=500)
    far.take()
    near.take()
    scene.loop.tick = unsynced.SLICE_SECONDS / 10
    scene.loop.step()
    scene.loop.step()
    assert seen(near.take()) == [("put", b"a", 500), ("put", b"a", 501)]
    assert 0 < len(seen(far.take())) < 30


def test_events_published_between_slices_are_not_lost(scene: Scene) -> None:
    for _ in range(50):
        scene.put(b"a")
    client = scene.client()
    client.create(b"a", start_revision=1)
    scene.loop.tick = unsynced.SLICE_SECONDS / 5
    while scene.hub.slow_watchers:
        scene.loop.step()
        if scene.store.revision < 70:
            scene.put(b"a")
    assert seen(client.take()) == [("put", b"a", r) for r in range(2, scene.store.revision + 1)]


def test_header_revisions_never_go_back_on_a_stream(scene: Scene) -> None:
    client = scene.client(room=3)
    for _ in range(30):
        scene.put(b"a")
    client.create(b"a", start_revision=1)
    client.create(b"a")
    client.create(b"a", start_revision=20)
    for _ in range(5):
        scene.put(b"a")
    revisions = [r.header.revision for r in client.read()]
    assert revisions == sorted(revisions)


def test_fragments_split_a_large_response_and_say_so(tmp_path: Path) -> None:
    # The limit is the largest request plus half a MiB.
    scene = Scene(tmp_path / "db", max_request_bytes=0)
    client = scene.client()
    client.create(b"a", b"z", fragment=True)
    client.create(b"a", b"z")
    scene.change(puts=[(bytes([97 + i]), b"x" * 200_000) for i in range(5)])
    received = client.read()[2:]
    parts = [r for r in received if r.watch_id == 0]
    assert [(len(r.events), r.fragment) for r in parts] == [(2, True), (2, True), (1, False)]
    assert {r.header.revision for r in parts} == {2}
    assert len(seen(parts)) == 5
    assert [(len(r.events), r.fragment) for r in received if r.watch_id == 1] == [(5, False)]


def test_a_single_event_is_never_split(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "db", max_request_bytes=0)
    client = scene.client()
    client.create(b"a", b"z", fragment=True)
    scene.put(b"a", value=b"x" * 1_000_000)
    scene.change(puts=[(b"a", b"x" * 1_000_000), (b"b", b"y")])
    sizes = [(len(r.events), r.fragment) for r in client.read()[1:]]
    assert sizes == [(1, False), (1, True), (1, False)]
