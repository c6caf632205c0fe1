"""Revisions with so many events that they are told in slices."""

from __future__ import annotations

from pathlib import Path

import pytest

from rusd.mvcc import history
from rusd.watch import groups, unsynced
from tests.unit.watch.scene import Scene, seen

KEYS = [b"k%03d" % number for number in range(100)]
DELETED = [("delete", key, 3) for key in KEYS]


@pytest.fixture(params=[("LONG_REVISION_EVENTS", 10), ("LONG_REVISION_BYTES", 250)])
def scene(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """100 keys at revision 2; a revision is long from some ten events on, by their number or their
    bytes, and a slice is of four.
    """
    made = Scene(tmp_path / "db")
    made.put(*KEYS)
    long, limit = request.param
    for where, name, value in (
        (history, long, limit), (groups, long, limit), (history, "_ROWS", 4),
        (unsynced, "ENCODED", 4),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, value)
    return made


def slow(scene: Scene) -> None:
    """Every look at the clock ends a slice."""
    scene.loop.tick = unsynced.SLICE_SECONDS


def test_a_live_watcher_gets_a_long_revision_in_one_response(scene: Scene) -> None:
    watching, with_prev, of_one = scene.client(), scene.client(), scene.client()
    watching.create(b"k", b"l")
    with_prev.create(b"k", b"l", prev_kv=True)
    of_one.create(b"k050")
    scene.delete(*KEYS)
    scene.put(b"k999")
    for client in (watching, with_prev, of_one):
        received = [one for one in client.read() if one.events]
        whole = [e for e in DELETED if client is not of_one or e[1] == b"k050"]
        assert seen(received[:1]) == whole
        assert seen(received[1:]) == ([] if client is of_one else [("put", b"k999", 4)])
        if client is with_prev:
            assert [e.prev_kv.value for e in received[0].events] == [b"v"] * 100
        else:
            assert not any(e.HasField("prev_kv") for e in received[0].events)


def test_the_loop_gets_its_turns_within_a_long_revision(scene: Scene) -> None:
    client = scene.client()
    client.create(b"k", b"l")
    client.take()
    slow(scene)
    scene.delete(*KEYS)
    steps = 0
    while scene.hub.slow_watchers:
        scene.loop.step()
        steps += 1
    assert steps > 100 / 4 + 100 / 4
    assert seen(client.take()) == DELETED


def test_a_watcher_created_within_a_long_revision_misses_no_event(scene: Scene) -> None:
    early = scene.client()
    early.create(b"k", b"l")
    early.take()
    slow(scene)
    scene.delete(*KEYS)
    for _ in range(15):
        scene.loop.step()
    assert scene.hub.slow_watchers
    now, before, past_one = scene.client(), scene.client(), scene.client()
    now.create(b"k", b"l")
    before.create(b"k", b"l", start_revision=2)
    past_one.create(b"k", b"l", start_revision=3)
    scene.put(b"k999")
    while scene.hub.slow_watchers:
        scene.loop.step()
    later = [("put", b"k999", 4)]
    assert seen(now.take()) == later
    assert seen(before.take()) == [("put", key, 2) for key in KEYS] + DELETED + later
    assert seen(past_one.take()) == DELETED + later
    assert seen(early.take()) == DELETED + later


def test_a_client_that_does_not_read_gets_a_long_revision_once_it_does(scene: Scene) -> None:
    full = scene.client(room=2)
    full.create(b"k", b"l")
    full.create(b"k", b"l")
    scene.delete(*KEYS)
    scene.loop.advance()
    scene.put(b"k999")
    events = [e for one in full.read() if one.events for e in seen([one])]
    assert sorted(events) == sorted(2 * [*DELETED, ("put", b"k999", 4)])


def test_a_watch_that_is_canceled_in_a_long_revision_gets_nothing_of_it(scene: Scene) -> None:
    client, other = scene.client(), scene.client()
    client.create(b"k", b"l")
    other.create(b"k", b"l")
    slow(scene)
    scene.delete(*KEYS)
    for _ in range(15):
        scene.loop.step()
    client.stream.cancel(0)
    while scene.hub.slow_watchers:
        scene.loop.step()
    assert seen(client.take()) == []
    assert seen(other.take()) == DELETED


def test_a_snapshot_in_the_midst_of_a_long_revision_loses_nothing(scene: Scene) -> None:
    client = scene.client()
    client.create(b"k", b"l")
    slow(scene)
    scene.delete(*KEYS)
    for _ in range(15):
        scene.loop.step()
    scene.change(puts=[(b"k999", b"v")], publish=False)
    scene.hub.restored()
    while scene.hub.slow_watchers:
        scene.loop.step()
    assert seen(client.take()) == [*DELETED, ("put", b"k999", 4)]


def test_a_short_revision_of_very_many_ranges_is_delivered_in_slices(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten events, each of which 20 ranges hold: two hundred pairs."""
    monkeypatch.setattr(groups, "MANY_MATCHES", 100)
    monkeypatch.setattr(unsynced, "MATCHED", 30)
    slow(scene)
    clients = [scene.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.create(b"k", b"k9%02d" % number)
    scene.put(*KEYS[:10])
    turns = 0
    while scene.hub.slow_watchers:
        scene.loop.step()
        turns += 1
    assert turns > 200 / 40
    for client in clients:
        (response,) = [one for one in client.read() if one.events]
        assert [event.kv.key for event in response.events] == KEYS[:10]


def test_catching_up_many_watchers_of_one_key_is_spread_over_slices(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsynced, "SENT", 4)
    slow(scene)
    clients = [scene.client() for _ in range(40)]
    for client in clients:
        client.create(b"k000", start_revision=2)
    turns = 0
    while scene.hub.slow_watchers:
        scene.loop.step()
        turns += 1
    assert turns > 40 / 4
    for client in clients:
        (response,) = [one for one in client.read() if one.events]
        assert [event.kv.key for event in response.events] == [b"k000"]
