"""Progress responses: on request and by the clock."""

from pathlib import Path

import pytest

from tests.unit.watch.scene import Scene, plain, seen

INTERVAL = 5.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "db", progress_interval=INTERVAL)


def test_a_requested_progress_speaks_for_all_watchers_of_the_stream(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    client.create(b"b")
    scene.put(b"c")
    client.take()
    client.stream.progress()
    (progress,) = client.read()
    assert plain(progress) == {"watch_id": -1}
    assert progress.header.revision == 2


def test_progress_comes_after_the_events_it_covers(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    scene.put(b"a")
    client.stream.progress()
    _, event, progress = client.read()
    assert seen([event]) == [("put", b"a", 2)]
    assert (progress.watch_id, progress.header.revision) == (-1, 2)


def test_without_watchers_no_progress(scene: Scene) -> None:
    client = scene.client()
    client.stream.progress()
    assert client.read() == []


def test_no_progress_while_one_watcher_is_behind(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a")
    client.create(b"a", start_revision=1)
    client.stream.progress()
    assert [plain(r).get("watch_id", 0) for r in client.read()] == [0, 1, 1]
    client.stream.progress()
    assert [plain(r) for r in client.read()] == [{"watch_id": -1}]


def test_no_progress_before_a_future_start_revision(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", start_revision=3)
    client.take()
    for expected in ([], [], [{"watch_id": -1}]):
        client.stream.progress()
        assert [plain(r) for r in client.read()] == expected
        scene.put(b"z")


def test_progress_asked_of_a_full_buffer_is_answered_once_when_it_drained(scene: Scene) -> None:
    client = scene.client(room=1)
    client.create(b"a")
    for _ in range(5):
        client.stream.progress()
    assert [plain(r) for r in client.read()] == [{"created": True}, {"watch_id": -1}]


def test_an_idle_watcher_that_asked_is_notified_each_interval(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", watch_id=4, progress_notify=True)
    client.create(b"a")
    scene.put(b"z")
    client.take()
    for _ in range(2):
        scene.loop.advance(INTERVAL * 1.1)
        (progress,) = client.take()
        assert plain(progress) == {"watch_id": 4}
        assert progress.header.revision == 2


def test_a_watcher_that_had_events_is_left_out_once(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", progress_notify=True)
    scene.put(b"a")
    client.take()
    scene.loop.advance(INTERVAL * 1.1)
    assert client.take() == []
    scene.loop.advance(INTERVAL * 1.1)
    assert [r.header.revision for r in client.take()] == [2]


def test_a_watcher_that_is_behind_is_not_notified(scene: Scene) -> None:
    client = scene.client(room=2)
    client.create(b"a", progress_notify=True)
    scene.put(b"a")
    scene.put(b"a")
    scene.loop.advance(INTERVAL * 3)
    assert len(client.take()) == 2
    assert scene.hub.slow_watchers == 1


def test_intervals_are_spread_by_up_to_a_tenth(scene: Scene) -> None:
    clients = [scene.client() for _ in range(20)]
    for client in clients:
        client.create(b"a", progress_notify=True)
    delays = scene.loop.delays
    assert len(set(delays)) > 10
    assert all(INTERVAL <= delay <= INTERVAL * 1.1 for delay in delays)


def test_the_shortest_interval_is_a_tenth_of_a_second(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "db2", progress_interval=0.001)
    scene.client().create(b"a", progress_notify=True)
    assert 0.1 <= scene.loop.delays[0] <= 0.11
