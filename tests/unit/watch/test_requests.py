"""Create, cancel and progress requests, and what is refused."""

import pytest

from rusd.watch import stream
from rusd.watch.errors import TooManyUnread
from tests.unit.watch.scene import Scene, plain, seen


def test_ids_count_up_from_zero_and_are_not_used_again(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a")
    client.create(b"a")
    client.stream.cancel(0)
    client.create(b"a")
    ids = [r.watch_id for r in client.read() if r.created]
    assert ids == [0, 1, 2]


def test_automatic_ids_step_over_chosen_ones(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", watch_id=1)
    for _ in range(3):
        client.create(b"a")
    assert [r.watch_id for r in client.read()] == [1, 0, 2, 3]


def test_each_stream_has_ids_of_its_own(scene: Scene) -> None:
    first, second = scene.client(), scene.client()
    first.create(b"a", watch_id=5)
    second.create(b"a", watch_id=5)
    assert [r.canceled for r in first.read() + second.read()] == [False, False]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"watch_id": 9}, "mvcc: duplicate watch ID provided on the WatchStream"),
        ({"range_end": b"a"}, "mvcc: watcher range is empty"),
        ({"range_end": b"A"}, "mvcc: watcher range is empty"),
    ],
)
def test_a_refused_watcher_is_created_and_canceled_at_once(
    scene: Scene, fields: dict[str, object], reason: str
) -> None:
    client = scene.client()
    client.create(b"k", watch_id=9)
    client.create(b"a", **fields)
    scene.put(b"a")
    _, refused = client.read()
    assert plain(refused) == {
        "watch_id": -1,
        "created": True,
        "canceled": True,
        "cancel_reason": reason,
    }
    assert refused.header.revision == 1
    assert scene.hub.watchers == 1


def test_cancel_is_answered_and_ends_the_events(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", watch_id=3)
    scene.put(b"a")
    client.stream.cancel(3)
    scene.put(b"a")
    _, event, canceled = client.read()
    assert seen([event]) == [("put", b"a", 2)]
    assert plain(canceled) == {"watch_id": 3, "canceled": True}
    assert canceled.header.revision == 2


def test_canceling_an_unknown_watcher_is_ignored(scene: Scene) -> None:
    client = scene.client()
    client.stream.cancel(3)
    assert client.read() == []


def test_an_id_is_free_again_after_cancel(scene: Scene) -> None:
    client = scene.client()
    client.create(b"a", watch_id=3)
    client.stream.cancel(3)
    client.create(b"b", watch_id=3)
    scene.put(b"b")
    assert seen(client.read()) == [("put", b"b", 2)]


def test_a_closed_stream_leaves_nothing_behind(scene: Scene) -> None:
    scene.put(b"a")
    client = scene.client()
    client.create(b"a")
    client.create(b"a", b"b", progress_notify=True)
    client.create(b"a", start_revision=1)
    client.take()
    client.stream.close()
    scene.put(b"a")
    scene.loop.advance(1000)
    assert client.unread == []
    assert (scene.hub.watchers, scene.hub.slow_watchers, scene.hub.streams) == (0, 0, 0)


def test_closing_the_hub_ends_every_stream(scene: Scene) -> None:
    clients = [scene.client(), scene.client()]
    for client in clients:
        client.create(b"a", progress_notify=True)
    error = Exception("stopped")
    scene.hub.close(error)
    assert [client.error for client in clients] == [error, error]
    assert scene.hub.streams == 0


def test_a_client_that_asks_on_without_reading_is_cut_off(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_UNREAD_RESPONSES", 10)
    client = scene.client(room=1)
    for _ in range(12):
        client.create(b"b", b"a")
    assert isinstance(client.error, TooManyUnread)
    assert len(client.unread) == 11


def test_a_client_that_reads_may_ask_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_UNREAD_RESPONSES", 10)
    client = scene.client(room=1)
    for _ in range(50):
        client.create(b"b", b"a")
        assert len(client.read()) == 1
    assert not client.finished
