"""The transition table of watchers, and the bookkeeping that each state implies."""

from collections import deque
from pathlib import Path

import pytest

from rusd.watch.states import BEHIND, TRANSITIONS, WatcherEvent, WatcherState
from rusd.watch.watcher import StreamState, Watcher
from tests.unit.watch.scene import Scene

EVERY = [(state, event) for state, events in TRANSITIONS.items() for event in events]


def path_to(target: WatcherState) -> list[WatcherEvent]:
    """The shortest sequence of events that brings a new watcher to `target`."""
    paths: dict[WatcherState, list[WatcherEvent]] = {WatcherState.NEW: []}
    pending = deque(paths)
    while pending:
        state = pending.popleft()
        for event, following in TRANSITIONS[state].items():
            if following not in paths:
                paths[following] = [*paths[state], event]
                pending.append(following)
    return paths[target]


def new_watcher(scene: Scene) -> Watcher:
    client = scene.client(room=0)
    client.create(b"k")
    (old,) = client.stream.state.watchers.values()
    return Watcher(StreamState(client), 7, old.group, fragment=False, notify=False)


def check_bookkeeping(scene: Scene, watcher: Watcher) -> None:
    unsynced = scene.hub._unsynced
    assert (watcher in unsynced._queue) == (watcher.state is WatcherState.UNSYNCED)
    assert (watcher in watcher.stream.blocked) == (watcher.state is WatcherState.BLOCKED)
    assert watcher.group.behind == unsynced.behind == (watcher.state in BEHIND)


@pytest.mark.parametrize(("state", "event"), EVERY)
def test_each_transition_keeps_what_the_states_imply(
    tmp_path: Path, state: WatcherState, event: WatcherEvent
) -> None:
    scene = Scene(tmp_path)
    watcher = new_watcher(scene)
    for earlier in path_to(state):
        scene.hub._unsynced.move(watcher, earlier, 1)
    assert watcher.state is state
    check_bookkeeping(scene, watcher)
    scene.hub._unsynced.move(watcher, event, 1)
    assert watcher.state is TRANSITIONS[state][event]
    check_bookkeeping(scene, watcher)


@pytest.mark.parametrize("state", WatcherState)
def test_an_event_that_a_state_does_not_list_changes_nothing_and_raises(
    tmp_path: Path, state: WatcherState
) -> None:
    scene = Scene(tmp_path)
    watcher = new_watcher(scene)
    for earlier in path_to(state):
        scene.hub._unsynced.move(watcher, earlier, 1)
    for event in set(WatcherEvent) - set(TRANSITIONS[state]):
        with pytest.raises(KeyError):
            scene.hub._unsynced.move(watcher, event, 1)
        assert watcher.state is state
        check_bookkeeping(scene, watcher)


def test_every_state_is_reached_every_event_is_used_and_every_watcher_can_end() -> None:
    assert {event for _, event in EVERY} == set(WatcherEvent)
    for state in set(WatcherState) - {WatcherState.NEW, WatcherState.CLOSED}:
        assert path_to(state)
        assert TRANSITIONS[state][WatcherEvent.CANCELED] is WatcherState.CLOSED
        assert TRANSITIONS[state][WatcherEvent.STREAM_CLOSED] is WatcherState.CLOSED
    assert not TRANSITIONS[WatcherState.CLOSED]
